"""The Hopper forward kernel in the interpreter, and its lowering for CUDA."""

import functools

import jax
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention import mosaic_sm90_forward as module
from pallas_kernels.prefix_linear_attention import mosaic_sm90_forward_state as state_module
from pallas_kernels.prefix_linear_attention import mosaic_sm90_launch as launch
from pallas_kernels.prefix_linear_attention import mosaic_sm90_prefix as prefix
from pallas_kernels.prefix_linear_attention import roll_features

pytestmark = pytest.mark.skipif(
    jax.__version_info__ < (0, 11), reason='Mosaic GPU kernels need jax 0.11'
)

CONFIG = module.ForwardConfig()
# Relative errors: outputs and the state of values have bfloat16 factors; the
# normaliser and the sum of the features must not.
TOLERANCE = {'y': 4e-3, 'inv_z': 3e-6, 'kv': 3e-3, 'k': 1e-6}


@pytest.fixture(autouse=True)
def fresh_interpreter():
  yield
  interpreter().reset_gpu_interpret_mode_state()


def interpreter():
  from jax._src.pallas.mosaic_gpu.interpret import interpret_pallas_call

  return interpret_pallas_call


def races_found():
  return interpreter().get_races().races_found


def run(arguments, *, config=CONFIG, length=None, return_state=True):
  """Outputs by name, and whether there was a race."""
  state = arguments.get('initial_state')
  forward = functools.partial(
      module.forward,
      config=config,
      length=length,
      return_state=return_state,
      interpret=plgpu.InterpretGPUParams(detect_races=True),
  )
  names = 'q', 'k', 'v', 'k_enc', 'v_enc', 'prefix_len'
  y, inv_z, kv_t, gram = jax.block_until_ready(
      jax.jit(forward)(
          *(arguments.get(name) for name in names),
          *((None, None) if state is None else roll_features.pack_state(state)),
      )
  )
  outputs = {'y': y, 'inv_z': inv_z}
  if return_state:
    state = roll_features.unpack_state(kv_t, gram, arguments['v'].shape[-1])
    outputs |= {'kv': state.kv, 'k': state.k}
  return outputs, races_found()


@jax.jit
def expected(arguments):
  """The same by the definition, in float32."""
  op = functools.partial(
      pallas_kernels.prefix_linear_attention,
      return_state=True,
      implementation='reference',
  )
  arguments = {
      name: x if name == 'prefix_len' else as_float32(x)
      for name, x in arguments.items()
  }
  y, state = op(**arguments)
  ones = {
      name: jnp.ones_like(arguments[name][..., :1])
      for name in ('v', 'v_enc')
      if name in arguments
  }
  if 'initial_state' in arguments:
    past = arguments['initial_state'].k
    ones['initial_state'] = pallas_kernels.State(past[..., None], past)
  z, _ = op(**arguments | ones, normalizer='none')
  inv_z = 1 / jnp.swapaxes(z[..., 0], 1, 2)
  return {'y': y, 'inv_z': inv_z, 'kv': state.kv, 'k': state.k}


def as_float32(tree):
  return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def assert_close(actual, expected):
  assert actual.keys() == expected.keys()
  for name in expected:
    a, e = {name: actual[name]}, {name: expected[name]}
    testing.assert_close(a, e, TOLERANCE[name])


def check(arguments, **options):
  actual, races = run(arguments, **options)
  assert not races
  assert_close(actual, expected(arguments))


def draw(*left_out, prefix_len=None, B=1, L=256, P=128, H=1, V=64):
  sizes = {'B': B, 'L': L, 'P': P, 'H': H, 'V': V}
  arguments = testing.make_inputs(**sizes, D=16, dtype='bfloat16')
  if prefix_len is not None:
    arguments['prefix_len'] = np.asarray(prefix_len, np.int32)
  return {n: x for n, x in arguments.items() if n not in left_out}


PREFIX = 'k_enc', 'v_enc', 'prefix_len'


def test_rows_of_a_batch_have_prefixes_of_their_own():
  check(draw('initial_state', B=5, P=256, prefix_len=[0, 1, 77, 200, 256]))


def test_chunks_can_outnumber_stages_without_a_prefix():
  config = module.ForwardConfig(stages=2)
  check(draw('initial_state', *PREFIX, L=512, H=2), config=config)


def test_chained_calls_are_one_call():
  arguments = draw(L=512, prefix_len=[77])
  tokens = 'q', 'k', 'v'
  first = arguments | {n: arguments[n][:, :256] for n in tokens}
  one, races = run(first)
  assert not races
  state = pallas_kernels.State(one.pop('kv'), one.pop('k'))
  second = {n: arguments[n][:, 256:] for n in tokens}
  two, races = run(second | {'initial_state': state})
  assert not races
  actual = {
      'y': jnp.concatenate([one['y'], two['y']], axis=1),
      'inv_z': jnp.concatenate([one['inv_z'], two['inv_z']], axis=2),
      'kv': two['kv'],
      'k': two['k'],
  }
  assert_close(actual, expected(arguments))


def test_outputs_do_not_need_the_final_state():
  arguments = draw('initial_state', prefix_len=[100])
  actual, races = run(arguments, return_state=False)
  assert not races
  exact = expected(arguments)
  assert_close(actual, {name: exact[name] for name in ('y', 'inv_z')})


def test_values_of_112_take_a_tile_that_is_cut_off():
  check(draw(V=112, prefix_len=[100]))


def test_tokens_from_length_on_do_not_enter_the_state():
  length = 200
  arguments = draw('initial_state', prefix_len=[128])
  short = arguments | {n: arguments[n][:, :length] for n in ('q', 'k', 'v')}
  for name in 'q', 'k', 'v':
    arguments[name][:, length:] = 50
  actual, races = run(arguments, length=length)
  assert not races
  actual['y'] = actual['y'][:, :length]
  actual['inv_z'] = actual['inv_z'][:, :, :length]
  assert_close(actual, expected(short))


def test_a_state_announced_before_it_is_written_is_a_race(
    monkeypatch, stopped_by_race
):
  def announce_then_write(p, i, state, corner):
    buffer = jax.lax.rem(i, jnp.int32(2))
    plgpu.barrier_arrive(p.ready.at[buffer])
    blocks.publish(*state, corner, *state_module.published(p, buffer))

  monkeypatch.setattr(state_module, '_publish', announce_then_write)
  arguments = draw('initial_state', *PREFIX)
  assert stopped_by_race(run, arguments) or races_found()


def test_a_stage_released_before_it_is_read_is_a_race(
    monkeypatch, stopped_by_race
):
  def release_then_read(p, state, stage, counts):
    plgpu.barrier_wait(p.full.at[stage])
    plgpu.barrier_arrive(p.empty.at[stage])
    refs = (x.at[stage] for x in (p.k_stage, p.v_stage))
    options = {'counts': counts, 'emulate': p.emulate}
    features = prefix.slabs(p, launch.traced_zero(p))
    return blocks.add_keys(state, *refs, features, p.selection, **options)

  monkeypatch.setattr(state_module, '_update', release_then_read)
  config = module.ForwardConfig(stages=2)
  arguments = draw('initial_state', *PREFIX, L=512)
  assert stopped_by_race(run, arguments, config=config) or races_found()


def test_features_of_two_chunks_in_the_same_place_are_a_race(
    monkeypatch, stopped_by_race
):
  slabs = prefix.slabs
  monkeypatch.setattr(prefix, 'slabs', lambda p, buffer: slabs(p, 0 * buffer))
  arguments = draw('initial_state', P=256, prefix_len=[256])
  assert stopped_by_race(run, arguments) or races_found()


@pytest.mark.slow
@pytest.mark.parametrize('stages', (2, 3))
@pytest.mark.parametrize('P', (0, 128, 256))
@pytest.mark.parametrize('L', (256, 640))
@pytest.mark.parametrize('V', (16, 64, 112, 128))
def test_all_sizes_agree_with_the_definition(V, L, P, stages):
  lengths = np.asarray([P - 50, P // 3], np.int32)
  arguments = draw(B=2, V=V, L=L, P=P) | {'prefix_len': lengths}
  if not P:
    arguments = {n: x for n, x in arguments.items() if n not in PREFIX}
  check(arguments, config=module.ForwardConfig(stages=stages))


LOWERED = {
    'prefix': dict(V=64),
    'prefix, state, masked': dict(V=64, state=True, length=500),
    'state': dict(V=64, P=0, state=True),
    'neither': dict(V=64, P=0),
    'clamped': dict(V=64, normalizer='clamp'),
    'not normalised': dict(V=64, P=0, normalizer='none'),
    'V = 112': dict(V=112),
    'V = 128': dict(V=128),
    'two stages, more registers for the state': dict(
        V=64, config=module.ForwardConfig(2, (24, 200, 144))
    ),
}


@pytest.mark.parametrize(
    'variant',
    [
        pytest.param(
            name,
            marks=()
            if name in ('prefix, state, masked', 'neither')
            else pytest.mark.slow,
        )
        for name in LOWERED
    ],
)
def test_every_variant_lowers_for_cuda(variant):
  lower(**LOWERED[variant])


def lower(
    *,
    V,
    P=256,
    state=False,
    config=CONFIG,
    B=2,
    L=512,
    H=2,
    **options,
):
  shape = jax.ShapeDtypeStruct
  keys = {n: shape((B, n, H, 16), jnp.bfloat16) for n in (L, P)}
  values = {n: shape((B, n, H, V), jnp.bfloat16) for n in (L, P)}
  prefix = keys[P], values[P], shape((B,), jnp.int32)
  past = (
      shape((B, H, V, roll_features.NUM_FEATURES), jnp.float32),
      shape((B, H, *roll_features.GRAM_SHAPE), jnp.float32),
  )
  forward = functools.partial(module.forward, config=config, **options)
  lowered = (
      jax.jit(forward)
      .trace(
          keys[L],
          keys[L],
          values[L],
          *(prefix if P else (None,) * 3),
          *(past if state else (None,) * 2),
      )
      .lower(lowering_platforms=('cuda',))
  )
  assert 'mosaic_gpu' in lowered.as_text()


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(stages=1), 'stages must be at least 2, got 1'),
        (dict(stages=5), 'shared memory must be at most 232448 bytes'),
        (dict(registers=(24, 176, 160)), 'at most 512 in sum, got 520'),
        (dict(registers=(24, 170, 152)), 'registers of state must be a mult'),
        (dict(registers=(16, 168, 160)), 'registers of producer must be'),
    ],
)
def test_a_config_that_the_hardware_cannot_take_is_refused(wrong, message):
  with pytest.raises(ValueError, match=message):
    module.ForwardConfig(**wrong)


@pytest.mark.parametrize(
    'sizes, message',
    [
        (dict(L=200), 'L must be a multiple of 128, got 200'),
        (dict(P=100), 'P must be a multiple of 128, got 100'),
        (dict(V=60), 'V must be a multiple of 16, got 60'),
    ],
)
def test_sizes_that_do_not_divide_are_refused(sizes, message):
  arguments = draw('initial_state', **sizes)
  with pytest.raises(ValueError, match=message):
    module.forward(*arguments.values(), None, None, config=CONFIG)
