"""What the compiler has made of the Hopper kernels, executed instruction by
instruction and held to the definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import ptx
from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import mosaic_sm90_state
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles
from pallas_kernels.prefix_linear_attention import roll_features

pytestmark = [pytest.mark.aot, pytest.mark.timeout(900)]


def slow(name, **sizes):
  return pytest.param(sizes, id=name, marks=pytest.mark.slow)


every_size = pytest.mark.parametrize(
    'sizes',
    [
        pytest.param({}, id='64 values'),
        slow('112 values', V=112),
        slow('128 values', V=128, prefix_len=(129, 0)),
        slow('no prefix in any row', prefix_len=(0, 0)),
        slow('one token of a prefix', L=130, prefix_len=(1, 0)),
        slow('four segments', segment_chunks=1),
    ],
)
at_any_time = pytest.mark.parametrize('late', [False, True])


def make_inputs(*, L=400, V=64, prefix_len=(77, 256)):
  """Two rows and heads of a length that no chunk of 128 tokens divides."""
  B, P = len(prefix_len), max(prefix_len)
  inputs = testing.make_inputs(B=B, L=L, P=P, H=2, D=16, V=V, dtype='bfloat16')
  inputs['prefix_len'] = np.int32(prefix_len)
  return jax.tree.map(jnp.asarray, inputs)


def evaluate(inputs, implementation, **options):
  """Outputs, the state and all gradients."""
  op = functools.partial(
      pallas_kernels.prefix_linear_attention,
      implementation=implementation,
      return_state=True,
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


@every_size
@at_any_time
def test_outputs_states_and_gradients_are_those_of_the_definition(sizes, late):
  program = compile_operation(**sizes)
  sizes = {name: x for name, x in sizes.items() if name != 'segment_chunks'}
  inputs = make_inputs(**sizes)
  assert program.kernels
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
def test_the_state_after_a_segment_is_that_of_the_definition(late):
  inputs = make_inputs()
  k, v, lengths = (inputs[x] for x in ('k_enc', 'v_enc', 'prefix_len'))
  kv_t, gram = compile_state()(k, v, lengths, late=late)
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
