"""Converts heads of other widths for the Hopper kernels.

The kernels have one width of keys, 16, and three of values. Values are padded
with zeros to the next width. For heads of width 8, keys are repeated to fill
16, and queries are split into two bfloat16 parts. With q √2 = hi + lo, whose
rounding error is 2^-17 of its size,

    [hi, lo]·[k, k] / √16 = q·k / √8

so that heads of width 8 are as exact as those of width 16: the error of outputs
for normal inputs is 2.3e-3. Padding with zeros would cost as much and would
round q √2 to bfloat16: the error would be 2.5e-3, or 2.9e-3 with a factor of
2^¼ on both sides.
"""

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.prefix_linear_attention import roll_features
from pallas_kernels.prefix_linear_attention.inputs import Inputs
from pallas_kernels.prefix_linear_attention.inputs import State

_HALF = roll_features.D // 2

KEY_WIDTHS = _HALF, roll_features.D
VALUE_WIDTHS = 64, 112, 128  # the kernels have these


def value_width(V: int) -> int | None:
  """The smallest width of the kernels that is at least V; None if none is."""
  return next((width for width in VALUE_WIDTHS if V <= width), None)


def widen(inputs: Inputs) -> Inputs:
  """Converts inputs to the widths of the kernels, differentiably.

  Args:
    inputs: bfloat16 or float32, D one of `KEY_WIDTHS`, V at most the last of
      `VALUE_WIDTHS`.

  Returns:
    The same in bfloat16, with D = 16, V one of `VALUE_WIDTHS`, and the
    converted state, if there is one.
  """
  D, V = inputs.q.shape[-1], inputs.v.shape[-1]
  spare = value_width(V) - V
  q, k, v, k_enc, v_enc = inputs[:5]
  state = inputs.state
  if state is not None:
    state = State(_pad(state.kv, spare), state.k)
  if D == _HALF:
    q, k, k_enc = _in_two_parts(q), _twice(k), _twice(k_enc)
    state = _select(state, *_OF_WIDE)
  vectors = q, k, _pad(v, spare), k_enc, _pad(v_enc, spare)
  vectors = [x.astype(jnp.bfloat16) for x in vectors]
  return Inputs(*vectors, *inputs[5:8], state)


def narrow(
    y: jax.Array, state: State | None, D: int, V: int
) -> tuple[jax.Array, State | None]:
  """Converts outputs and the state, if there is one, back to widths D and V."""
  if state is not None:
    state = State(state.kv[..., :V], state.k)
  return y[..., :V], _select(state, *_OF_NARROW) if D == _HALF else state


def _in_two_parts(q):
  """Converts [..., 8] to bfloat16 [..., 16], whose halves add up to q √2."""
  q = q.astype(jnp.float32) * np.float32(2**0.5)
  # XLA may remove a cast there and back, and with it the second part.
  rounded = lax.reduce_precision(q, exponent_bits=8, mantissa_bits=7)
  return jnp.concatenate([rounded, q - rounded], axis=-1).astype(jnp.bfloat16)


def _twice(x):
  return jnp.concatenate([x, x], axis=-1)


def _pad(x, spare):
  return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, spare)]) if spare else x


def _select(state, index, weight):
  """The state for other features; each is one of these, times a weight."""
  if state is None:
    return None
  weight = weight.astype(state.k.dtype)
  return State(
      state.kv[..., index, :] * weight[:, None], state.k[..., index] * weight
  )


def _found(features, others):
  """The index of each feature among `others`, and its weight there."""
  products, weights = features
  other_products, other_weights = others
  index = [other_products.index(x) for x in products]
  return np.int32(index), weights / other_weights[index]


def _folded(features):
  """Features of [k, k], whose factors are columns of k."""
  products, weights = features
  return [tuple(sorted(a % _HALF for a in x)) for x in products], weights


_NARROW, _WIDE = map(roll_features.public_features, KEY_WIDTHS)
_OF_WIDE = _found(_folded(_WIDE), _NARROW)
_OF_NARROW = _found(_NARROW, _WIDE)
