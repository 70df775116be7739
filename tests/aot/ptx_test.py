"""What the compiler has made of the Hopper kernels, executed instruction by
instruction and held to the definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels.prefix_linear_attention import mosaic_sm90_state
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles
from pallas_kernels.prefix_linear_attention import roll_features
from pallas_kernels import testing
import ptx

pytestmark = [pytest.mark.aot, pytest.mark.timeout(900)]


def slow(name, **sizes):
  return pytest.param(sizes, id=name, marks=pytest.mark.slow)


PACKED = dict(L=300, prefix_len=(77, 128), packed=True)
every_size = pytest.mark.parametrize(
    'sizes',
    [
        pytest.param({}, id='64 values'),
        pytest.param(PACKED, id='documents'),
        slow('training', state=False),
        slow('112 values', V=112),
        slow('128 values', V=128, prefix_len=(129, 0)),
        slow('no prefix in any row', prefix_len=(0, 0)),
        slow('one token of a prefix', L=130, prefix_len=(1, 0)),
        slow('four segments', segment_chunks=1),
        slow('documents in segments', segment_chunks=1, **PACKED),
    ],
)
at_any_time = pytest.mark.parametrize('late', [False, True])


def make_inputs(*, L=400, V=64, prefix_len=(77, 256), packed=False, state=True):
  """Two rows and heads of a length that no chunk of 128 tokens divides.

  With `packed`, documents begin at two tokens of each row, and some tokens at its
  end and inside a document are padding. Without `state` there is none before the
  first token, and `evaluate` asks for none after the last one.
  """
  B, P = len(prefix_len), max(prefix_len)
  inputs = testing.make_inputs(B=B, L=L, P=P, H=2, D=16, V=V, dtype='bfloat16')
  inputs['prefix_len'] = np.int32(prefix_len)
  if not state:
    del inputs['initial_state']
  if packed:
    index, borders = np.arange(L), np.array([[100, 110], [200, 256]])
    ids = (index >= borders[..., None]).sum(axis=1)
    inputs['segment_ids'] = ids.astype(np.int32)
    padding = (index >= L - 7) | (index >= 40) & (index < 60)
    inputs['mask'] = np.broadcast_to(~padding, (B, L))
  return jax.tree.map(jnp.asarray, inputs)


def evaluate(inputs, implementation, **options):
  """Outputs, the state if there was one before, and all gradients."""
  op = functools.partial(
      pallas_kernels.prefix_linear_attention,
      implementation=implementation,
      return_state='initial_state' in inputs,
      **options,
  )
  return testing.outputs_and_gradients(op, inputs)


def expected(inputs):
  """The same by the definition, in float32."""
  exact = lambda x: x.astype('float32') if x.dtype == jnp.bfloat16 else x
  return evaluate(jax.tree.map(exact, inputs), 'reference')


@functools.cache
def compile_operation(*, segment_chunks=4, **sizes):
  """The operation and its gradients; so many chunks are one segment at least."""
  tiles = mosaic_sm90_tiles.Tiles(segment_chunks=segment_chunks)
  run = functools.partial(evaluate, implementation='mosaic_sm90', tiles=tiles)
  return ptx.Executable(run, make_inputs(**sizes))


def names(program):
  start = 'prefix_linear_attention_'
  return {kernel.name.removeprefix(start) for kernel in program.kernels}


@every_size
@at_any_time
def test_outputs_states_and_gradients_are_those_of_the_definition(sizes, late):
  program = compile_operation(**sizes)
  sizes = dict(sizes)
  expected_kernels = {'forward', 'dq', 'dkv', 'dprefix'}
  if sizes.pop('segment_chunks', None):
    expected_kernels.add('state')
  if sizes.get('prefix_len') == (0, 0):
    expected_kernels.remove('dprefix')
  assert names(program) == expected_kernels
  inputs = make_inputs(**sizes)
  testing.assert_close(
      program(inputs, late=late),
      expected(inputs),
      testing.TOLERANCE['bfloat16'],
  )


@functools.cache
def compile_state():
  inputs = make_inputs()
  return ptx.Executable(
      mosaic_sm90_state.final_state,
      inputs['k_enc'],
      inputs['v_enc'],
      inputs['prefix_len'],
  )


@at_any_time
@pytest.mark.parametrize('seed', range(3))
def test_the_state_after_a_segment_is_that_of_the_definition(late, seed):
  inputs = make_inputs()
  k, v, lengths = (inputs[x] for x in ('k_enc', 'v_enc', 'prefix_len'))
  program = compile_state()
  assert names(program) == {'state'}
  kv_t, gram = program(k, v, lengths, late=late, seed=seed)
  valid = jnp.arange(k.shape[1]) < lengths[:, None]
  phi = roll_features.features(k.astype('float32'), query=False)
  phi = jnp.where(valid[..., None, None], phi, 0)
  testing.assert_close(
      roll_features.unpack_state(kv_t, gram, v.shape[-1]),
      roll_features.unpack_state(
          jnp.einsum('blhv,blhf->bhvf', v.astype('float32'), phi),
          jnp.einsum('blhi,blhj->bhij', phi[..., :64], phi[..., :32]),
          v.shape[-1],
      ),
      testing.TOLERANCE['bfloat16'],
  )
