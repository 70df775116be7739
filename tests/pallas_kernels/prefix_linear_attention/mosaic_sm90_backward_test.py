"""The Hopper backward kernels in the interpreter; their lowering for CUDA."""

import functools

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward as module
from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward_parts as parts
from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention import roll_algebra
from pallas_kernels.prefix_linear_attention import roll_features
from pallas_kernels.prefix_linear_attention.inputs import State

pytestmark = pytest.mark.skipif(
    jax.__version_info__ < (0, 11), reason='Mosaic GPU kernels need jax 0.11'
)

CONFIG = module.BackwardConfig()
PREFIX = 'k_enc', 'v_enc', 'prefix_len'
STATE = 'kv_t', 'gram', 'dkv_t', 'dgram'
ARRAYS = 'q', 'k', 'v', *PREFIX, 'kv_t', 'gram'
GRADIENTS = 'q', 'k', 'v', 'k_enc', 'v_enc', 'kv_t', 'gram'


def draw(*left_out, prefix_len=(100,), B=1, L=256, P=128, H=1, V=64):
  """Arguments of the kernels by name, but for what the forward pass returns."""
  x = testing.make_inputs(B=B, L=L, P=P, H=H, D=16, V=V, dtype='bfloat16')
  rng = np.random.default_rng(1)
  x['prefix_len'] = np.int32(prefix_len)
  x['dy'] = rng.standard_normal(x['v'].shape).astype(jnp.bfloat16)
  x['kv_t'], x['gram'] = roll_features.pack_state(x.pop('initial_state'))
  unpack = functools.partial(roll_features.unpack_state, V=V)
  final, vjp = jax.vjp(unpack, x['kv_t'], x['gram'])
  # As large as what the outputs contribute, so that errors of both show.
  dfinal = [
      jnp.asarray(rng.standard_normal(s.shape), 'float32') / 32 for s in final
  ]
  x['dkv_t'], x['dgram'] = vjp(State(*dfinal))
  return {name: None if name in left_out else x[name] for name in x}


def as_float64(x):
  return np.asarray(x, np.float64) if x.dtype != np.int32 else x


def expected(x):
  """y, 1 / z, and gradients by name, of the algebra in float64."""
  B, _, H, V = x['v'].shape
  zeros = {
      name: np.zeros((B, H, V, 160) if 'kv_t' in name else (B, H, 64, 32))
      for name in STATE
  }
  x = jax.tree.map(
      as_float64, zeros | {n: a for n, a in x.items() if a is not None}
  )

  @jax.jit
  def run(x):
    arrays = [x.get(name) for name in ARRAYS]
    y, inv_z, *_ = roll_algebra.forward(*arrays)
    rest = x['dy'], x['dkv_t'], x['dgram']
    return y, inv_z, roll_algebra.backward(*arrays, y, inv_z, *rest)

  with jax.enable_x64(True):
    y, inv_z, gradients = jax.tree.map(np.asarray, run(x))
  return y, inv_z, dict(zip(GRADIENTS, gradients))


def gradients(x, y, inv_z, config=CONFIG):
  """Those of the kernels, by name."""
  run = functools.partial(
      module.backward,
      config=config,
      interpret=plgpu.InterpretGPUParams(detect_races=True),
  )
  outputs = y.astype(jnp.bfloat16), inv_z.astype('float32'), x['dy']
  arrays = [x[name] for name in ARRAYS]
  actual = jax.jit(run)(*arrays, *outputs, x['dkv_t'], x['dgram'])
  return dict(zip(GRADIENTS, jax.tree.map(np.asarray, actual)))


def check(races, x, **options):
  y, inv_z, exact = expected(x)
  exact = {name: dx for name, dx in exact.items() if x[name] is not None}
  actual = gradients(x, y, inv_z, **options)
  testing.assert_close(actual, exact, testing.TOLERANCE['bfloat16'])
  assert races() == [False] * (2 if x['k_enc'] is None else 3)
  return actual


@pytest.mark.slow
def test_more_chunks_than_stages_and_an_uneven_prefix(races):
  check(races, draw(L=384, P=256, prefix_len=[150]))


def test_rows_of_a_batch_have_prefixes_of_their_own(races):
  config = module.BackwardConfig(prefix_chunks=1)
  x = draw(*STATE, B=3, L=128, P=256, prefix_len=[0, 130, 256])
  actual = check(races, x, config=config)
  assert not actual['k_enc'][0].any() and not actual['v_enc'][0].any()
  assert not actual['k_enc'][1, 130:].any()
  assert not actual['v_enc'][1, 130:].any()


@pytest.mark.slow
def test_values_of_112_take_a_tile_that_is_cut_off(races):
  check(races, draw(V=112))


@pytest.mark.slow  # mosaic_sm90_test.py has such gradients, without `races`
def test_without_a_prefix_there_are_two_launches(races):
  check(races, draw(*PREFIX, L=384, H=2))


def announce_then_write(p, corner, i, state):
  slot = jax.lax.rem(i, jnp.int32(2))
  pl.when(i >= 2)(lambda: plgpu.barrier_wait(p.free.at[slot]))
  plgpu.barrier_arrive(p.ready.at[slot])
  refs = p.published_kv_t, p.published_gram_hi, p.published_gram_lo
  blocks.publish(*state, corner, *(ref.at[slot] for ref in refs))


def write_then_wait(p, corner, i, state):
  slot = jax.lax.rem(i, jnp.int32(2))
  refs = p.published_kv_t, p.published_gram_hi, p.published_gram_lo
  blocks.publish(*state, corner, *(ref.at[slot] for ref in refs))
  pl.when(i >= 2)(lambda: plgpu.barrier_wait(p.free.at[slot]))
  plgpu.barrier_arrive(p.ready.at[slot])


@pytest.mark.slow
@pytest.mark.parametrize('wrong', (announce_then_write, write_then_wait))
def test_a_state_published_in_the_wrong_order_is_a_race(
    monkeypatch, races, stopped_by_race, wrong
):
  monkeypatch.setattr(parts, 'publish', wrong)
  x = draw(L=512)
  if not stopped_by_race(gradients, x, *expected(x)[:2]):
    assert races() == [True, True, False]  # dprefix has no other readers


@pytest.mark.slow
@pytest.mark.parametrize('L, stages', [(128, 1), (640, 2)])
@pytest.mark.parametrize('P', (0, 128, 384))
@pytest.mark.parametrize('V', (16, 64, 112, 128))
def test_gradients_of_all_sizes_are_those_of_the_algebra(
    races, V, P, L, stages
):
  left_out = () if P else PREFIX
  lengths = [P - 50, P // 3]
  x = draw(*left_out, B=2, V=V, L=L, P=P or 128, prefix_len=lengths)
  check(races, x, config=module.BackwardConfig(stages=stages))


def slow(*values):
  return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    'V, P, with_state, launches',
    [(64, 256, True, 3), slow(112, 128, True, 3), slow(128, 0, False, 2)],
)
def test_every_variant_lowers_for_cuda(V, P, with_state, launches):
  B, L, H = 2, 512, 2
  bfloat16 = lambda *sizes: jax.ShapeDtypeStruct(sizes, jnp.bfloat16)
  float32 = lambda *sizes: jax.ShapeDtypeStruct(sizes, jnp.float32)
  q, v, prefix, state = (
      bfloat16(B, L, H, 16),
      bfloat16(B, L, H, V),
      [None] * 3,
      [None] * 2,
  )
  if P:
    prefix_len = jax.ShapeDtypeStruct((B,), jnp.int32)
    prefix = bfloat16(B, P, H, 16), bfloat16(B, P, H, V), prefix_len
  if with_state:
    state = float32(B, H, V, 160), float32(B, H, 64, 32)
  run = jax.jit(functools.partial(module.backward, config=CONFIG))
  y, inv_z, dy = v, float32(B, H, L), v
  traced = run.trace(q, q, v, *prefix, *state, y, inv_z, dy, *state)
  text = traced.lower(lowering_platforms=('cuda',)).as_text()
  assert text.count('custom_call @mosaic_gpu') == launches


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(stages=0), 'stages must be at least 1'),
        (dict(stages=3), 'shared memory must be at most 232448 bytes'),
        (dict(prefix_chunks=0), 'prefix_chunks must be at least 1'),
        (dict(dq_registers=(24, 184, 160)), 'at most 512 in sum, got 528'),
        (dict(dkv_registers=(24, 170, 152)), 'registers of state must be a'),
    ],
)
def test_a_config_that_the_hardware_cannot_take_is_refused(wrong, message):
  with pytest.raises(ValueError, match=message):
    module.BackwardConfig(**wrong)


@pytest.mark.parametrize(
    'sizes, message',
    [
        (dict(L=200), 'L must be a multiple of 128, got 200'),
        (dict(P=100), 'P must be a multiple of 128, got 100'),
        (dict(V=60), 'V must be a multiple of 16, got 60'),
    ],
)
def test_sizes_that_do_not_divide_are_refused(sizes, message):
  x = draw(**sizes)
  arrays = [x[name] for name in ARRAYS]
  inv_z = np.ones((1, 1, x['v'].shape[1]), 'float32')
  with pytest.raises(ValueError, match=message):
    module.backward(
        *arrays, x['v'], inv_z, x['dy'], x['dkv_t'], x['dgram'], config=CONFIG
    )
