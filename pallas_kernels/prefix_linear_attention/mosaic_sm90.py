"""Prefix linear attention on Hopper GPUs (sm_90a), with Pallas Mosaic GPU.

What the kernels can take, how it is padded for them, and the derivative. The
kernels are in `mosaic_sm90_forward` and `mosaic_sm90_backward`; `roll_algebra`
has the same in plain jnp.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward
from pallas_kernels.prefix_linear_attention import mosaic_sm90_forward
from pallas_kernels.prefix_linear_attention import roll_features

CHUNK = 128
VALUE_WIDTHS = (64, 112, 128)


def mosaic_sm90(
    inputs: inputs_lib.Inputs,
    *,
    feature_map: str,
    normalizer: str,
    plain: bool,
    interpret: Any = None,
) -> tuple[jax.Array, inputs_lib.State]:
  """Returns the outputs [B, L, H, V] and the state after the last token.

  Args:
    inputs: bfloat16, D = 16, V one of `VALUE_WIDTHS`.
    feature_map: 'taylor_exp'.
    normalizer: 'sum'.
    plain: whether there is neither padding nor a second document.
    interpret: parameters of the interpreter of Mosaic GPU; None to compile.

  Raises:
    NotImplementedError: the inputs are others, or jax is too old.
  """
  _check(inputs, feature_map, normalizer, plain)
  L, P, V = inputs.q.shape[1], inputs.k_enc.shape[1], inputs.v.shape[-1]
  q, k, v = (_pad(x, L) for x in (inputs.q, inputs.k, inputs.v))
  k_enc, v_enc = (
      _pad(x, P) if P else None for x in (inputs.k_enc, inputs.v_enc)
  )
  prefix_len = inputs.prefix_mask.sum(axis=1, dtype=jnp.int32)
  y, kv_t, gram = _attend(
      *(q, k, v, k_enc, v_enc, prefix_len),
      *roll_features.pack_state(inputs.state),
      L,
      interpret,
  )
  return y[:, :L], roll_features.unpack_state(kv_t, gram, V)


@functools.partial(jax.custom_vjp, nondiff_argnums=(8, 9))
def _attend(q, k, v, k_enc, v_enc, prefix_len, kv_t, gram, length, interpret):
  arrays = q, k, v, k_enc, v_enc, prefix_len, kv_t, gram
  y, _, kv_t, gram = mosaic_sm90_forward.forward(
      *arrays,
      length=length,
      config=mosaic_sm90_forward.ForwardConfig(),
      interpret=interpret,
  )
  return y, kv_t, gram


def _forward(*args):
  *arrays, length, interpret = args
  y, inv_z, kv_t, gram = mosaic_sm90_forward.forward(
      *arrays,
      length=length,
      config=mosaic_sm90_forward.ForwardConfig(),
      interpret=interpret,
  )
  return (y, kv_t, gram), (arrays, y, inv_z)


def _backward(length, interpret, residuals, cotangents):
  arrays, y, inv_z = residuals
  dy, dkv_t, dgram = cotangents
  dq, dk, dv, dk_enc, dv_enc, dkv_t, dgram = mosaic_sm90_backward.backward(
      *arrays,
      y,
      inv_z,
      dy,  # 0 beyond `length`: that was cut off
      dkv_t,
      dgram,
      config=mosaic_sm90_backward.BackwardConfig(),
      interpret=interpret,
  )
  return dq, dk, dv, dk_enc, dv_enc, None, dkv_t, dgram


_attend.defvjp(_forward, _backward)


def _check(inputs, feature_map, normalizer, plain):
  D, V = inputs.q.shape[-1], inputs.v.shape[-1]
  dtypes = inputs.q.dtype, inputs.v.dtype
  refusals = {
      f'jax must be 0.11.2 or newer, got {jax.__version__}': (
          jax.__version_info__ < (0, 11, 2)
      ),
      f"feature_map must be 'taylor_exp', got {feature_map!r}": (
          feature_map != 'taylor_exp'
      ),
      f"normalizer must be 'sum', got {normalizer!r}": normalizer != 'sum',
      f'q and v must be bfloat16, got {dtypes[0]} and {dtypes[1]}': (
          dtypes != (jnp.bfloat16, jnp.bfloat16)
      ),
      f'D must be {roll_features.D}, got {D}': D != roll_features.D,
      f'V must be one of {VALUE_WIDTHS}, got {V}': V not in VALUE_WIDTHS,
      'segment_ids and mask must not be given': not plain,
  }
  for refusal, applies in refusals.items():
    if applies:
      raise NotImplementedError(refusal)


def _pad(x, length):
  """Pads [B, length, ...] with zeros to whole chunks."""
  padding = -length % CHUNK
  return jnp.pad(x, ((0, 0), (0, padding), (0, 0), (0, 0))) if padding else x
