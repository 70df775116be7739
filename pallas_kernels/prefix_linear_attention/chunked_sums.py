"""Sums over keys and values without any outputs, a chunk at a time.

The backward pass recomputes the features of a chunk instead of keeping them.
"""

import functools

import jax

from pallas_kernels.prefix_linear_attention import chunk_products
from pallas_kernels.prefix_linear_attention import chunks
from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention.chunked import CHUNK
from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap


def sums(
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    *,
    feature_map: FeatureMap,
    plain: bool = False,
    chunk: int = CHUNK,
) -> inputs_lib.State:
  """Returns the sums over the positions of `mask`, bool [B, L]."""
  del plain  # a mask costs little where no weights are computed
  return _sums(k, v, mask, feature_map, min(chunk, k.shape[1]))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _sums(k, v, mask, feature_map, chunk):
  (B, _, H, D), V = k.shape, v.shape[-1]
  return chunk_products.Products(feature_map).read_prefix(
      inputs_lib.zero_state(B, H, D, V, feature_map),
      chunks.Prefix.of(k, v, mask, chunk),
  )


def _sums_forward(k, v, mask, feature_map, chunk):
  return _sums(k, v, mask, feature_map, chunk), (k, v, mask)


def _sums_backward(feature_map, chunk, residuals, dstate):
  op, L = chunk_products.Products(feature_map), residuals[0].shape[1]
  grads = op.read_prefix_vjp(dstate, chunks.Prefix.of(*residuals, chunk))
  return *(x[:, :L] for x in grads), None


_sums.defvjp(_sums_forward, _sums_backward)
