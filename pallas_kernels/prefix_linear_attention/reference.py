"""The definition of prefix linear attention: all weights, O(L²)."""

import jax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap


def reference(
    inputs: inputs_lib.Inputs,
    *,
    feature_map: FeatureMap,
    normalizer: str,
    plain: bool = False,
    return_state: bool = True,
) -> tuple[jax.Array, inputs_lib.State | None]:
  """Returns the outputs [B, L, H, V] and the state after the last token.

  It computes in float32, or in float64 for inputs of float64.
  """
  del plain  # masks are always read
  dtype = jnp.promote_types(inputs.v.dtype, jnp.float32)
  q, k, v, k_enc, v_enc = (x.astype(dtype) for x in inputs[:5])
  kernel, features = feature_map.kernel, feature_map.features
  L, D = q.shape[1], q.shape[-1]
  inputs = inputs_lib.with_state(inputs, feature_map)
  segment, state = inputs.segment, inputs.state
  segment_enc = inputs.prefix_segment
  if segment_enc is None:
    segment_enc = jnp.zeros(inputs.prefix_mask.shape, jnp.int32)

  first = segment == 0  # reads the initial state
  last = segment == segment[:, -1:]  # is kept in the final state
  causal = jnp.tril(jnp.ones((L, L), bool))
  same = segment[:, :, None] == segment[:, None, :]
  see = causal & same & inputs.mask[:, None, :]
  same_enc = segment[:, :, None] == segment_enc[:, None, :]
  see_enc = same_enc & inputs.prefix_mask[:, None, :]

  def weights(k, see):
    dot = jnp.einsum('blhd,bmhd->bhlm', q, k)
    return jnp.where(see[:, None], kernel(dot, D), 0)

  w, w_enc = weights(k, see), weights(k_enc, see_enc)
  phi_q = features(q) * first[..., None, None]
  num = (
      jnp.einsum('bhlm,bmhv->blhv', w, v)
      + jnp.einsum('bhlp,bphv->blhv', w_enc, v_enc)
      + jnp.einsum('blhf,bhfv->blhv', phi_q, state.kv)
  )
  den = (
      jnp.einsum('bhlm->blh', w)
      + jnp.einsum('bhlp->blh', w_enc)
      + jnp.einsum('blhf,bhf->blh', phi_q, state.k)
  )
  y = inputs_lib.normalize(num, den, normalizer)

  phi_k = features(k) * (last & inputs.mask)[..., None, None]
  last_enc = segment_enc == segment[:, -1:]
  phi_enc = features(k_enc) * (last_enc & inputs.prefix_mask)[..., None, None]
  kept = last[:, :1, None]  # the first segment is the last one
  final = inputs_lib.State(
      state.kv * kept[..., None]
      + jnp.einsum('bphf,bphv->bhfv', phi_enc, v_enc)
      + jnp.einsum('blhf,blhv->bhfv', phi_k, v),
      state.k * kept
      + jnp.einsum('bphf->bhf', phi_enc)
      + jnp.einsum('blhf->bhf', phi_k),
  )
  return y.astype(inputs.v.dtype), final if return_state else None


def sums(
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    *,
    feature_map: FeatureMap,
    plain: bool = False,
) -> inputs_lib.State:
  """Returns the sums over the positions of `mask`, bool [B, L]."""
  del plain
  dtype = jnp.promote_types(v.dtype, jnp.float32)
  phi = feature_map.features(k.astype(dtype)) * mask[..., None, None]
  kv = jnp.einsum('blhf,blhv->bhfv', phi, v.astype(dtype))
  return inputs_lib.State(kv, phi.sum(1))
