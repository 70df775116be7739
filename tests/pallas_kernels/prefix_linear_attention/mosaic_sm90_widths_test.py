"""Heads of other widths, with the definition in place of the kernels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_widths as widths
from pallas_kernels.prefix_linear_attention import reference
from pallas_kernels.prefix_linear_attention.feature_maps import taylor_exp

B, L, P, H = 2, 6, 4, 2
ARRAYS = 'q', 'k', 'v', 'k_enc', 'v_enc', 'initial_state'


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def make_arrays(D, V, dtype='bfloat16'):
  """Inputs by name; numbers of this dtype, given in float64."""
  arrays = testing.make_inputs(B=B, L=L, P=P, H=H, D=D, V=V, dtype=dtype)
  del arrays['prefix_len']
  return jax.tree.map(lambda x: jnp.asarray(np.float64(x)), arrays)


def as_inputs(arrays):
  return inputs_lib.Inputs(
      *(arrays[name] for name in ARRAYS[:5]),
      prefix_mask=jnp.arange(P) < jnp.array([[P], [1]]),
      segment=jnp.zeros((B, L), jnp.int32),
      mask=jnp.ones((B, L), bool),
      state=arrays['initial_state'],
  )


def define(inputs):
  inputs = jax.tree.map(
      lambda x: x.astype('float64') if x.dtype == jnp.bfloat16 else x, inputs
  )
  return reference.reference(inputs, feature_map=taylor_exp(), normalizer='sum')


def of_the_heads(**arrays):
  return define(as_inputs(arrays))


def of_wide_heads(**arrays):
  """The same by way of the widths of the kernels."""
  inputs = as_inputs(arrays)
  wide = widths.widen(inputs)
  assert wide.q.shape[-1] == 16 and wide.v.shape[-1] in widths.VALUE_WIDTHS
  D, V = inputs.q.shape[-1], inputs.v.shape[-1]
  return widths.narrow(*define(wide), D, V)


@functools.partial(jax.jit, static_argnums=0)
def evaluate(function, arrays):
  """Outputs and states, and gradients."""
  return testing.outputs_and_gradients(function, arrays)


def test_what_is_computed_is_that_of_the_heads_that_were_given():
  arrays = make_arrays(D=8, V=48)
  # Queries of float32 stay what they are.
  arrays['q'] = make_arrays(D=8, V=48, dtype='float32')['q']
  outputs, gradients = evaluate(of_wide_heads, arrays)
  expected_outputs, expected_gradients = evaluate(of_the_heads, arrays)
  # Were q √2 rounded once, this would be 2e-3.
  testing.assert_close(outputs, expected_outputs, 2e-5)
  # The cotangents of what is in bfloat16 are rounded to it.
  testing.assert_close(gradients, expected_gradients, 5e-3)


def test_a_state_can_be_widened_and_narrowed_again():
  arrays = make_arrays(8, 48)
  wide = widths.widen(as_inputs(arrays)).state
  assert wide.kv.shape == (B, H, 153, 64) and wide.k.shape == (B, H, 153)
  _, state = widths.narrow(jnp.zeros((B, L, H, 64)), wide, 8, 48)
  testing.assert_close(state, arrays['initial_state'], 1e-15)


def test_the_next_width_of_values_is_found():
  found = [widths.value_width(V) for V in (1, 64, 65, 112, 113, 128, 129)]
  assert found == [64, 64, 112, 112, 128, 128, None]
