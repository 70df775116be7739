import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import feature_maps
from pallas_kernels.prefix_linear_attention import reference
from pallas_kernels.prefix_linear_attention import roll_algebra
from pallas_kernels.prefix_linear_attention import roll_features
from pallas_kernels.prefix_linear_attention.inputs import Inputs

B, L, P, H, D, V, CHUNK = 4, 12, 8, 2, 16, 3, 4
NAMES = 'q', 'k', 'v', 'k_enc', 'v_enc'


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def make_inputs(prefix_len):
  """Float64 inputs, with an initial state of three tokens."""
  inputs = testing.make_inputs(B=B, L=L, P=P, H=H, D=D, V=V)
  inputs['prefix_len'] = np.int32(prefix_len)
  state = jax.tree.map(np.float64, inputs['initial_state'])
  return inputs | {name: np.float64(inputs[name]) for name in NAMES}, state


def definition(q, k, v, k_enc, v_enc, state, prefix_len):
  inputs = Inputs(
      *(q, k, v, k_enc, v_enc),
      prefix_mask=jnp.arange(P) < prefix_len[:, None],
      segment=jnp.zeros((B, L), jnp.int32),
      mask=jnp.ones((B, L), bool),
      state=state,
  )
  return reference.reference(
      inputs, feature_map=feature_maps.taylor_exp(), normalizer='sum'
  )


# Compiled op by op, which here takes less time than whole programs do.
forward = functools.partial(roll_algebra.forward, chunk=CHUNK)
backward = functools.partial(roll_algebra.backward, chunk=CHUNK)


def by_autodiff(arrays, state, prefix_len, cotangents):
  """Outputs and final state, and the gradients, of the definition."""
  run = lambda *args: definition(*args, prefix_len)
  outputs, vjp = jax.vjp(run, *arrays, state)
  return outputs, vjp(cotangents)


def by_algebra(arrays, state, prefix_len, cotangents):
  dy, dfinal = cotangents
  packed, pack_vjp = jax.vjp(roll_features.pack_state, state)
  y, inv_z, *final = forward(*arrays, prefix_len, *packed)
  unpack = functools.partial(roll_features.unpack_state, V=V)
  final, unpack_vjp = jax.vjp(unpack, *final)
  *gradients, dkv_t, dgram = backward(
      *(*arrays, prefix_len, *packed, y, inv_z, dy, *unpack_vjp(dfinal))
  )
  return (y, final), (*gradients, *pack_vjp((dkv_t, dgram)))


def test_outputs_state_and_gradients_are_those_of_the_definition():
  inputs, state = make_inputs((5, 0, 8, 4))
  arrays = [inputs[name] for name in NAMES]
  rng = np.random.default_rng(1)
  dfinal = jax.tree.map(lambda x: rng.standard_normal(x.shape), state)
  cotangents = rng.standard_normal(inputs['v'].shape), dfinal
  args = arrays, state, inputs['prefix_len'], cotangents
  outputs, gradients = by_algebra(*args)
  exact_outputs, exact_gradients = by_autodiff(*args)
  testing.assert_close(outputs, exact_outputs, 1e-12)
  names = *NAMES, 'initial_state'
  testing.assert_close(
      dict(zip(names, gradients)), dict(zip(names, exact_gradients)), 1e-10
  )


def test_without_a_prefix_it_is_causal():
  inputs, state = make_inputs((0, 0, 0, 0))
  arrays = [inputs[name] for name in NAMES]
  packed = roll_features.pack_state(state)
  empty_prefix = *arrays, inputs['prefix_len'], *packed
  no_prefix = *arrays[:3], None, None, None, *packed
  outputs = forward(*no_prefix)
  testing.assert_close(outputs, forward(*empty_prefix), 1e-14)
  y, inv_z, *final = outputs
  rest = y, inv_z, np.cos(y), *final
  gradients, exact = backward(*no_prefix, *rest), backward(*empty_prefix, *rest)
  assert gradients[3:5] == (None, None)
  testing.assert_close(
      gradients[:3] + gradients[5:], exact[:3] + exact[5:], 1e-14
  )


def test_positions_from_length_on_do_not_enter_the_state():
  inputs, state = make_inputs((5, 2, 8, 0))
  arrays = [inputs[name] for name in NAMES]
  rest = *arrays[3:], inputs['prefix_len'], *roll_features.pack_state(state)
  length = 9  # is inside the last chunk
  cut_off = [x.copy() for x in arrays[:3]]
  for x in cut_off:
    x[:, length:] = 7
  y, _, *final = forward(*cut_off, *rest, length=length)
  in_chunks_of_one = functools.partial(roll_algebra.forward, chunk=1)
  short = [x[:, :length] for x in arrays[:3]]
  exact_y, _, *exact_final = in_chunks_of_one(*short, *rest)
  testing.assert_close(y[:, :length], exact_y, 1e-13)
  testing.assert_close(final, exact_final, 1e-13)
