"""Prefix linear attention, one token at a time."""

import jax
import jax.numpy as jnp

from pallas_kernels.arguments import check_array
from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap


def prefix_linear_attention_step(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    state: inputs_lib.State,
    *,
    feature_map: str | FeatureMap = 'taylor_exp',
    normalizer: str = 'sum',
) -> tuple[jax.Array, inputs_lib.State]:
  """Reads one token and returns its output and the next state.

  Args:
    q: [B, H, D], the query, bfloat16 or float32.
    k: [B, H, D], the causal key.
    v: [B, H, V], the causal value; its dtype is the dtype of the result.
    state: the state that `prefix_linear_attention` or the last step returned.
    feature_map: see `prefix_linear_attention`.
    normalizer: see `prefix_linear_attention`.

  Returns:
    [B, H, V] and the state, whose size is constant.

  Raises:
    ValueError: see `prefix_linear_attention`.
  """
  feature_map = inputs_lib.find_map(feature_map)
  inputs_lib.check_normalizer(normalizer, feature_map)
  check_array('q', q, ('B', 'H', 'D'))
  B, H, D = q.shape
  check_array('k', k, q.shape, q.dtype)
  check_array('v', v, (B, H, 'V'))
  F, V = feature_map.width(D), v.shape[-1]
  check_array('state.kv', state.kv, (B, H, F, V), jnp.float32)
  check_array('state.k', state.k, (B, H, F), jnp.float32)
  phi_q = feature_map.features(q).astype(jnp.float32)
  phi_k = feature_map.features(k).astype(jnp.float32)
  kv = state.kv + phi_k[..., None] * v.astype(jnp.float32)[..., None, :]
  state = inputs_lib.State(kv, state.k + phi_k)
  num = jnp.einsum('bhf,bhfv->bhv', phi_q, state.kv)
  den = jnp.einsum('bhf,bhf->bh', phi_q, state.k)
  y = inputs_lib.normalize(num, den, normalizer)
  return y.astype(v.dtype), state
