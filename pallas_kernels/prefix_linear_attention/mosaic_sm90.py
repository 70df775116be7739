"""Prefix linear attention on Hopper GPUs (sm_90a), with Pallas Mosaic GPU.

This module checks inputs and pads them for the kernels; `mosaic_sm90_widths`
converts other widths of heads. The kernels are in `mosaic_sm90_forward`,
`mosaic_sm90_backward` and `mosaic_sm90_state`; `roll_algebra` computes the same
in plain jnp.
"""

from typing import Any

import jax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_derivatives as derivatives
from pallas_kernels.prefix_linear_attention import mosaic_sm90_devices as devices
from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as documents_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_segments as segments
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles as tiles_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_widths as widths
from pallas_kernels.prefix_linear_attention import own_prefixes
from pallas_kernels.prefix_linear_attention import roll_features
from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap
from pallas_kernels.prefix_linear_attention.feature_maps import taylor_exp
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK
from pallas_kernels.prefix_linear_attention.mosaic_sm90_widths import KEY_WIDTHS
from pallas_kernels.prefix_linear_attention.mosaic_sm90_widths import VALUE_WIDTHS

# Precisions of jax that allow bfloat16 products for float32 inputs. jax's
# default on these GPUs, TF32, is more exact.
_ROUNDING = 'bfloat16', 'BF16_BF16_F32', 'BF16_BF16_BF16'

_MOST_PROGRAMS = 65_535  # CUDA's limit for the axis of a grid with B and H


def mosaic_sm90(
    inputs: inputs_lib.Inputs,
    *,
    feature_map: FeatureMap,
    normalizer: str,
    plain: bool,
    return_state: bool = True,
    tiles: tiles_lib.Tiles | None = None,
    interpret: Any = None,
) -> tuple[jax.Array, inputs_lib.State | None]:
  """Returns the outputs [B, L, H, V] and the state after the last token.

  Args:
    inputs: D is 8 or 16, V at most 128, B * H above 0. The dtype is bfloat16,
      or float32 if `jax.default_matmul_precision` is 'bfloat16', because inputs
      are rounded to it.
    feature_map: `taylor_exp` of order 2.
    normalizer: one of `inputs.NORMALIZERS`.
    plain: whether there is neither padding nor a second document, and a prefix
      has no gaps; otherwise kernels are compiled that handle all this.
    return_state: whether to return the state; without it, the kernels do not
      write it, and None is returned.
    tiles: the tunable settings; None for the best ones on this device.
    interpret: parameters of the interpreter of Mosaic GPU; None to compile.

  Raises:
    NotImplementedError: the inputs are not supported, jax is too old, or the
      device is another GPU.
  """
  _check(inputs, feature_map, interpret)
  if inputs.prefix_segment is not None:
    rows, places, _ = own_prefixes.causal_rows(inputs)
    y, state = mosaic_sm90(
        rows,
        feature_map=feature_map,
        normalizer=normalizer,
        plain=False,
        return_state=return_state,
        tiles=tiles,
        interpret=interpret,
    )
    return own_prefixes.of_tokens(y, places), state
  D, dtype, given_V = inputs.q.shape[-1], inputs.v.dtype, inputs.v.shape[-1]
  inputs = widths.widen(inputs)
  B, L, H, V = inputs.v.shape
  tiles = tiles or tiles_lib.choose(V)
  count = tiles.segments(B=B, H=H, V=V, L=L)
  q, k, v, k_enc, v_enc = (_pad(x, count * CHUNK) for x in inputs[:5])
  P, prefix, documents = k_enc.shape[1], (None, None, None), None
  past = None, None
  if P:
    prefix = k_enc, v_enc, _length(inputs.prefix_mask)
  if inputs.state is not None:
    past = roll_features.pack_state(inputs.state)
  if not plain:
    documents = documents_lib.of_inputs(inputs, q.shape[1], P)
  y, kv_t, gram = segments.attend(
      derivatives.Launch(tiles, normalizer, return_state, interpret),
      *(count, L),
      *(q, k, v),
      *prefix,
      *past,
      documents,
  )
  state = roll_features.unpack_state(kv_t, gram, V) if return_state else None
  y, state = widths.narrow(y[:, :L], state, D, given_V)
  return y.astype(dtype), state


def sums(
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    *,
    feature_map: FeatureMap,
    plain: bool,
    tiles: tiles_lib.Tiles | None = None,
    interpret: Any = None,
) -> inputs_lib.State:
  """Returns the sums over the positions of `mask`, bool [B, L].

  Args:
    k, v, feature_map, tiles, interpret: see `mosaic_sm90`.
    mask: True for the first positions of each row and for no others, if `plain`.
    plain: whether the mask is such.

  Raises:
    NotImplementedError: see `mosaic_sm90`.
  """
  inputs = inputs_lib.Inputs(
      q=k,  # there are no queries; what checks and widens needs some
      k=k,
      v=v,
      k_enc=k[:, :0],
      v_enc=v[:, :0],
      prefix_mask=mask[:, :0],
      segment=jnp.zeros(mask.shape, jnp.int32),
      mask=mask,
      state=None,
  )
  _check(inputs, feature_map, interpret)
  D, given_V = k.shape[-1], v.shape[-1]
  inputs = widths.widen(inputs)
  B, L, H, V = inputs.v.shape
  tiles = tiles or tiles_lib.choose(V)
  count = tiles.segments(B=B, H=H, V=V, L=L)
  k, v = (_pad(x, count * CHUNK) for x in (inputs.k, inputs.v))
  end = None
  if not plain:
    end = CHUNK * mask.astype(jnp.int32)
    end = jnp.pad(end, ((0, 0), (0, k.shape[1] - L)))
  launch = derivatives.Launch(tiles, interpret=interpret)
  read = segments.sums(launch, count, k, v, _length(mask), end)
  state = roll_features.unpack_state(*(x.sum(1) for x in read), V)
  return widths.narrow(v, state, D, given_V)[1]


def _length(mask):
  """int32 [B], one more than the last position of `mask`, bool [B, L]."""
  positions = jnp.arange(1, mask.shape[1] + 1, dtype=jnp.int32)
  return jnp.max(positions * mask, axis=1)


def _check(inputs, feature_map, interpret):
  B, _, H, D = inputs.q.shape
  V = inputs.v.shape[-1]
  refusals = {
      f'jax must be 0.11.2 or newer, got {jax.__version__}': (
          jax.__version_info__ < (0, 11, 2)
      ),
      f"feature_map must be 'taylor_exp', got {feature_map.name!r}": (
          feature_map != taylor_exp()
      ),
      _refused_dtypes(inputs.q.dtype, inputs.v.dtype): (
          not {inputs.q.dtype, inputs.v.dtype} <= _dtypes()
      ),
      f'D must be one of {KEY_WIDTHS}, got {D}': D not in KEY_WIDTHS,
      f'V must be from 1 to {VALUE_WIDTHS[-1]}, got {V}': (
          not 0 < V <= VALUE_WIDTHS[-1]
      ),
      f'B * H must be from 1 to {_MOST_PROGRAMS:,}, got {B * H:,}': (
          not 0 < B * H <= _MOST_PROGRAMS
      ),
  }
  for refusal, applies in refusals.items():
    if applies:
      raise NotImplementedError(refusal)
  if interpret is None and (reason := devices.unfit()):
    raise NotImplementedError(reason)


def _dtypes():
  """The dtypes of inputs that are accepted under the current precision."""
  rounds = jax.config.jax_default_matmul_precision in _ROUNDING
  return {jnp.dtype(x) for x in ('bfloat16', *['float32'] * rounds)}


def _refused_dtypes(q, v):
  return (
      'q and v must be bfloat16, or float32 under'
      f" jax.default_matmul_precision('bfloat16'), got {q} and {v}"
  )


def _pad(x, multiple):
  """Pads [B, length, ...] with zeros to a multiple."""
  padding = -x.shape[1] % multiple
  return jnp.pad(x, ((0, 0), (0, padding), (0, 0), (0, 0))) if padding else x
