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
from jrt_jax.models.prefix_readers import READERS
import pallas_kernels

_RMS_EPSILON = 1e-10  # small, so that the scale of outputs does not matter

State = pallas_kernels.State
# What is added up over the tokens of a prefix.
Sums = pallas_kernels.State | pallas_kernels.PrefixSums


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
    prefix_reader: what queries read of the prefix, `sum` or one of `READERS`.
    causal_in_prefix: whether tokens of the prefix also have causal keys.

  Raises:
    ValueError: the normalizer is not safe with the feature map or the reader.
  """

  def __init__(
      self,
      feature_map: FeatureMap,
      feature_map_enc: FeatureMap | None,
      *,
      normalizer: str,
      value_dim: int,
      implementation: str | Sequence[str] | None,
      prefix_reader: str = 'sum',
      causal_in_prefix: bool = True,
  ):
    self.num_heads = feature_map.num_heads
    self.normalizer = resolve_normalizer(
        normalizer, feature_map.sign, prefix_reader
    )
    self.implementation = implementation
    self.feature_map = feature_map
    self.feature_map_enc = feature_map_enc
    gain = nnx.Param(jnp.ones((self.num_heads, value_dim)))
    self.gain = gain if self.normalizer == 'output_rms' else None
    make = None if prefix_reader == 'sum' else READERS[prefix_reader]
    self.reader = make and make(self.num_heads)
    self.causal_in_prefix = causal_in_prefix

  @property
  def prefix_is_sum(self) -> bool:
    """Whether tokens of the prefix only add to the state, each on its own."""
    return self.reader is None and self.causal_in_prefix

  def attend(
      self,
      q: jax.Array,
      k: jax.Array,
      v: jax.Array,
      k_enc: jax.Array | None,
      v_enc: jax.Array | None,
      *,
      context: Context,
      state: State | None,
      return_state: bool = True,
  ) -> tuple[jax.Array, State | None]:
    """Returns outputs [B, L, H, V] and the last state, or None without it."""
    prefix_mask = None
    if k_enc is not None and context.prefix_mask is not None:
      prefix_mask = context.prefix_mask[:, : k_enc.shape[1]]
    if not self.prefix_is_sum and k_enc is not None:
      if prefix_mask is not None and context.segment_ids is not None:
        raise ValueError(
            'prefix_mask must be None where segment_ids are given, unless'
            " model.pla.prefix_reader is 'sum' and causal_in_prefix is True: a"
            ' row has one prefix'
        )
      prefix_mask = None
      sums = self.prefix_sums(
          k_enc, v_enc, context.in_prefix(), context.sequence_axes
      )
      state = self.with_prefix(state, sums)
      k_enc, v_enc = None, None
      if not self.causal_in_prefix:
        context = context.after_prefix()
    elif context.prefix_in_state and not self.causal_in_prefix:
      context = context.after_prefix()
    results = pallas_kernels.prefix_linear_attention(
        self.feature_map.prepare(q),
        self.feature_map.prepare(k),
        v,
        None if k_enc is None else self._prepare_enc(k_enc),
        v_enc,
        None if k_enc is None else context.prefix_len,
        prefix_mask=prefix_mask,
        segment_ids=context.segment_ids,
        return_state=return_state,
        **self._options(context.mask, state, context.sequence_axes),
    )
    y, state = results if return_state else (results, None)
    return self._normalize(y), state

  def prefix_sums(
      self,
      k_enc: jax.Array,
      v_enc: jax.Array,
      mask: jax.Array | None,
      sequence_axes: Sequence[str] = (),
  ) -> Sums:
    """Sums over keys and values [B, L, H, ...], those of a part of a prefix.

    The sums of parts, and those of documents, can be added. `sequence_axes` are
    the mesh axes that divide the positions.
    """
    k = self._prepare_enc(k_enc)
    options = self._options(mask, None, sequence_axes)
    if self.reader is not None:
      feature_map = options['feature_map']
      return self.reader.sums(k, v_enc, mask, feature_map, sequence_axes)
    # The state after a causal pass over the keys of the prefix is their sum.
    _, state = pallas_kernels.prefix_linear_attention(
        k, k, v_enc, return_state=True, **options
    )
    return state

  def with_prefix(self, state: State | None, sums: Sums) -> State:
    """Returns the state after `state`, and after a prefix with these sums."""
    new = sums if self.reader is None else self.reader.state(sums)
    return new if state is None else jax.tree.map(jnp.add, state, new)

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

  def _options(self, mask, state, sequence_axes) -> dict[str, Any]:
    return self._operation() | {
        'initial_state': state,
        'mask': mask,
        'batch_axes': parallel.BATCH_AXES,
        'head_axes': parallel.HEAD_AXES,
        'sequence_axes': sequence_axes,
        'implementation': self.implementation,
    }

  def _normalize(self, y):
    """Applies RMSNorm in float32 if the normalizer is 'output_rms'."""
    if self.gain is None:
      return y
    x = rms_norm.rms_normalized(y, self.gain[...], _RMS_EPSILON)
    return x.astype(y.dtype)
