"""The checked inputs of every implementation of prefix linear attention."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
from jax.sharding import PartitionSpec
import numpy as np

from pallas_kernels.arguments import check_array
from pallas_kernels.prefix_linear_attention.feature_maps import FEATURE_MAPS
from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap


class State(NamedTuple):
  """The state of linear attention, always float32.

  Attributes:
    kv: [B, H, F, V], the sum of φ(k) vᵀ.
    k: [B, H, F], the sum of φ(k).
  """

  kv: jax.Array
  k: jax.Array


def zero_state(
    B: int, H: int, D: int, V: int, feature_map: str | FeatureMap
) -> State:
  """Returns the state before any token; ValueError if the map is unknown."""
  F = find_map(feature_map).width(D)
  return State(
      jnp.zeros((B, H, F, V), jnp.float32), jnp.zeros((B, H, F), jnp.float32)
  )


class Inputs(NamedTuple):
  """The checked arguments of the public operation; the state may be None.

  Segments are ids that change at each boundary, before `numbered`; and numbers,
  from 0 and one more at each boundary, in the inputs of an implementation.
  """

  q: jax.Array  # [B, L, H, D]
  k: jax.Array  # [B, L, H, D]
  v: jax.Array  # [B, L, H, V]
  k_enc: jax.Array  # [B, P, H, D]
  v_enc: jax.Array  # [B, P, H, V]
  prefix_mask: jax.Array  # bool [B, P], which positions are prefix
  segment: jax.Array  # int32 [B, L], the segment of each position
  mask: jax.Array  # bool [B, L], which positions are tokens
  state: State | None  # before the first token; None before any token
  # int32 [B, P], the segment of each prefix position; None: the first segment.
  prefix_segment: jax.Array | None = None


def checked(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    k_enc: jax.Array | None,
    v_enc: jax.Array | None,
    prefix_len: jax.Array | None,
    *,
    prefix_mask: jax.Array | None,
    segment_ids: jax.Array | None,
    mask: jax.Array | None,
    state: State | None,
    feature_map: FeatureMap,
) -> Inputs:
  """Returns the arguments of the public operation, which describes them.

  Segments are not numbered yet, see `numbered`.

  Raises:
    ValueError: they do not fit together.
  """
  check_array('q', q, ('B', 'L', 'H', 'D'))
  B, L, H, D = q.shape
  check_array('k', k, q.shape, q.dtype)
  check_array('v', v, (B, L, H, 'V'))
  if not L:
    raise ValueError('q must hold at least one token, got L = 0')
  if (k_enc is None) != (v_enc is None):
    raise ValueError('k_enc and v_enc must be given together, got one of them')
  if k_enc is None:
    k_enc, v_enc = k[:, :0], v[:, :0]
  check_array('k_enc', k_enc, (B, 'P', H, D), q.dtype)
  P, V = k_enc.shape[1], v.shape[-1]
  if P > L:
    raise ValueError(f'k_enc must not be longer than q ({L}), got {P}')
  if prefix_len is not None and prefix_mask is not None:
    raise ValueError('prefix_len must be None if prefix_mask is given')
  of_every_document = (
      P > 0 and prefix_mask is not None and segment_ids is not None
  )
  if prefix_len is None:
    prefix_len = jnp.full(B, P, jnp.int32)
  if prefix_mask is None:
    prefix_mask = jnp.ones((B, P), bool)
  if mask is None:
    mask = jnp.ones((B, L), bool)
  if segment_ids is None:
    segment_ids = jnp.zeros((B, L), jnp.int32)
  expected = {
      'v_enc': (v_enc, (B, P, H, V), v.dtype),
      'prefix_len': (prefix_len, (B,), jnp.int32),
      'prefix_mask': (prefix_mask, (B, P), jnp.bool_),
      'segment_ids': (segment_ids, (B, L), jnp.int32),
      'mask': (mask, (B, L), jnp.bool_),
  }
  if state is not None:
    (kv, k_sum), F = state, feature_map.width(D)
    expected |= {
        'initial_state.kv': (kv, (B, H, F, V), jnp.float32),
        'initial_state.k': (k_sum, (B, H, F), jnp.float32),
    }
  for name, (x, shape, dtype) in expected.items():
    check_array(name, x, shape, dtype)
  prefix_mask = prefix_mask & mask[:, :P]
  if not of_every_document:
    check_prefix(prefix_len, segment_ids, P)
    prefix_mask = prefix_mask & (jnp.arange(P) < prefix_len[:, None])
  return Inputs(
      *(q, k, v, k_enc, v_enc, prefix_mask, segment_ids, mask, state),
      prefix_segment=segment_ids[:, :P] if of_every_document else None,
  )


def numbered(inputs: Inputs) -> Inputs:
  """Numbers the segments; a prefix of one document ends with the first one."""
  ids, P = inputs.segment, inputs.prefix_mask.shape[1]
  boundary = ids[:, 1:] != ids[:, :-1]
  segment = jnp.pad(
      jnp.cumsum(boundary, axis=1, dtype=jnp.int32), ((0, 0), (1, 0))
  )
  inputs, of_prefix = inputs._replace(segment=segment), segment[:, :P]
  if inputs.prefix_segment is not None:
    return inputs._replace(prefix_segment=of_prefix)
  return inputs._replace(prefix_mask=inputs.prefix_mask & (of_prefix == 0))


def with_state(inputs: Inputs, feature_map: FeatureMap) -> Inputs:
  """Returns the same inputs, with a state of zeros if there is none."""
  if inputs.state is not None:
    return inputs
  (B, _, H, D), V = inputs.q.shape, inputs.v.shape[-1]
  return inputs._replace(state=zero_state(B, H, D, V, feature_map))


def partition_specs(
    inputs: Inputs, rows: Any, positions: Any, heads: Any
) -> tuple[Inputs, State]:
  """PartitionSpecs of inputs and states, for axes that share each of these.

  Those of inputs are None where `inputs` are.
  """
  state = State(PartitionSpec(rows, heads), PartitionSpec(rows, heads))
  vectors = PartitionSpec(rows, positions, heads)
  flags = PartitionSpec(rows, positions)
  specs = Inputs(*[vectors] * 5, *[flags] * 3, state, flags)
  given = (x if own is not None else None for own, x in zip(inputs, specs))
  return Inputs(*given), state


def normalize(num: jax.Array, den: jax.Array, normalizer: str) -> jax.Array:
  """Divides [..., V] by what `normalizer` derives from `den` [...]."""
  return num / NORMALIZERS[normalizer](den)[..., None]


def _clamp(den):
  return jnp.where(den < 0, -1, 1) * jnp.maximum(jnp.abs(den), 1)


# Functions from the sum of the weights to the divisor of outputs.
NORMALIZERS = {
    # Without any key, outputs are 0 and gradients stay finite.
    'sum': lambda den: jnp.maximum(den, 1e-12),
    'clamp': _clamp,  # sign-safe, as in mLSTM
    'none': jnp.ones_like,
}


def find_map(feature_map: str | FeatureMap) -> FeatureMap:
  """Returns the map of an argument; raises ValueError if it is unknown."""
  if isinstance(feature_map, FeatureMap):
    return feature_map
  check_name('feature_map', feature_map, FEATURE_MAPS)
  return FEATURE_MAPS[feature_map]


def check_normalizer(normalizer: str, feature_map: FeatureMap) -> None:
  """Raises ValueError for an unknown normalizer, or one that may divide by 0.

  If all weights vanish, a mean divides by rounding errors: with s², and queries
  that are orthogonal to all keys, it is 10^6 times the largest value in
  float32, and 10^10 times in bfloat16.
  """
  check_name('normalizer', normalizer, NORMALIZERS)
  if normalizer == 'sum' and not feature_map.positive:
    raise ValueError(
        "normalizer must be 'clamp' or 'none' for a feature map whose weights"
        f" can all be 0, such as {feature_map}, got 'sum'"
    )


def check_name(argument: str, name: str, names: Mapping[str, Any]) -> None:
  """Raises ValueError unless `name` is one of `names`."""
  if name not in names:
    raise ValueError(f'{argument} must be one of {sorted(names)}, got {name!r}')


def check_prefix(prefix_len: jax.Array, ids: jax.Array, P: int) -> None:
  """Raises ValueError if a prefix is not inside its first segment."""
  if any(isinstance(x, jax.core.Tracer) for x in (prefix_len, ids)):
    return  # values are not known yet
  prefix_len, ids = np.asarray(prefix_len), np.asarray(ids)
  if ((prefix_len < 0) | (prefix_len > P)).any():
    raise ValueError(f'prefix_len must lie in [0, P={P}], got {prefix_len}')
  first = np.logical_and.accumulate(ids == ids[:, :1], axis=1).sum(axis=1)
  if (prefix_len > first).any():
    raise ValueError(
        'prefix_len must end inside the first segment, whose lengths are'
        f' {first}, got {prefix_len}'
    )
