"""Linear attention of heads that share a feature map and a normaliser."""

from collections.abc import Sequence
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.cost.feature_maps import resolve_normalizer
from jrt_jax.models import parallel
from jrt_jax.models import rms_norm
from jrt_jax.models.context import Context
from jrt_jax.models.feature_maps import FeatureMap
import pallas_kernels

_RMS_EPSILON = 1e-10  # small, so that the scale of outputs does not matter

State = pallas_kernels.State


class HeadGroup(nnx.Module):
  """Linear attention of H heads that share a feature map.

  Args:
    feature_map: the map of queries and keys.
    feature_map_enc: the map of keys of the prefix; None: the same.
    normalizer: a normalizer of the operation; 'auto' for that of the feature
      map; or 'output_rms', RMSNorm over the V outputs of a head without another
      normalizer.
    value_dim: V.
    implementation: an implementation of the operation, or several to try in
      order; None: the default.

  Raises:
    ValueError: the normalizer is not safe with the feature map.
  """

  def __init__(
      self,
      feature_map: FeatureMap,
      feature_map_enc: FeatureMap | None,
      *,
      normalizer: str,
      value_dim: int,
      implementation: str | Sequence[str] | None,
  ):
    self.num_heads = feature_map.num_heads
    self.normalizer = resolve_normalizer(normalizer, feature_map.sign)
    self.implementation = implementation
    self.feature_map = feature_map
    self.feature_map_enc = feature_map_enc
    gain = nnx.Param(jnp.ones((self.num_heads, value_dim)))
    self.gain = gain if self.normalizer == 'output_rms' else None

  def attend(
      self,
      q: jax.Array,
      k: jax.Array,
      v: jax.Array,
      k_enc: jax.Array | None,
      v_enc: jax.Array | None,
      *,
      prefix_len: jax.Array | None,
      context: Context,
      state: State | None,
      return_state: bool = True,
  ) -> tuple[jax.Array, State | None]:
    """Returns outputs [B, L, H, V] and the last state, or None without it."""
    results = pallas_kernels.prefix_linear_attention(
        self.feature_map.prepare(q),
        self.feature_map.prepare(k),
        v,
        None if k_enc is None else self._prepare_enc(k_enc),
        v_enc,
        prefix_len,
        segment_ids=context.segment_ids,
        return_state=return_state,
        **self._options(context, state),
    )
    y, state = results if return_state else (results, None)
    return self._normalize(y), state

  def read_prefix(
      self,
      k_enc: jax.Array,
      v_enc: jax.Array,
      *,
      context: Context,
      state: State,
  ) -> State:
    """Adds keys and values [B, L, H, ...] to the prefix in `state`."""
    k = self._prepare_enc(k_enc)
    # The state after a causal pass over the keys of the prefix is their sum.
    _, state = pallas_kernels.prefix_linear_attention(
        k, k, v_enc, return_state=True, **self._options(context, state)
    )
    return state

  def step(
      self, q: jax.Array, k: jax.Array, v: jax.Array, *, state: State
  ) -> tuple[jax.Array, State]:
    """Returns outputs [B, H, V] of one token and the next state."""
    y, state = pallas_kernels.prefix_linear_attention_step(
        self.feature_map.prepare(q),
        self.feature_map.prepare(k),
        v,
        state,
        **self._operation(),
    )
    return self._normalize(y), state

  def _prepare_enc(self, k_enc):
    return (self.feature_map_enc or self.feature_map).prepare(k_enc)

  def _operation(self) -> dict[str, Any]:
    rms = self.normalizer == 'output_rms'
    return {
        'feature_map': self.feature_map.operation,
        'normalizer': 'none' if rms else self.normalizer,
    }

  def _options(self, context, state) -> dict[str, Any]:
    return self._operation() | {
        'initial_state': state,
        'mask': context.mask,
        'batch_axes': parallel.BATCH_AXES,
        'head_axes': parallel.HEAD_AXES,
        'implementation': self.implementation,
    }

  def _normalize(self, y):
    """Applies RMSNorm in float32 if the normalizer is 'output_rms'."""
    if self.gain is None:
      return y
    x = rms_norm.rms_normalized(y, self.gain[...], _RMS_EPSILON)
    return x.astype(y.dtype)
