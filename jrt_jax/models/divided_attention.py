"""Softmax attention of rows whose positions devices divide."""

from collections.abc import Sequence

import jax
from jax import lax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jrt_jax.models import blocked_attention
from jrt_jax.models import kv_cache
from jrt_jax.models import parallel
from jrt_jax.models.blocked_attention import Before
from jrt_jax.models.context import Context
from jrt_jax.models.kv_cache import KVCache
from pallas_kernels import sharding


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    context: Context,
    *,
    window: int | None,
    state: KVCache | None = None,
) -> jax.Array:
  """Attention of queries to keys of their own device and of others.

  With a window, a device gets the keys and values of the last positions of the
  device before it, otherwise those of all positions.

  Args:
    q, k, v: [B, L, H, D].
    context: of the rows; it has `sequence_axes`.
    window: number of keys that a query sees, including its own; None: all
      earlier keys.
    state: with a window and without sinks, the cache before the rows; None:
      there are no earlier tokens.

  Returns:
    [B, L, H, D], in the dtype of v.

  Raises:
    ValueError: a window reaches further than the device before.
  """
  axes = context.sequence_axes
  places = parallel.spec(
      q.shape, (parallel.BATCH_AXES, axes, parallel.HEAD_AXES)
  )
  marks = context.segment_ids, context.mask
  first = None
  if state is not None:
    tail = -blocked_attention.reach(window)
    first_k, first_v, held = kv_cache.window(state)
    first = Before(first_k[:, tail:], first_v[:, tail:], None, held[:, tail:])

  def attend(q, k, v, segment_ids, mask, first):
    B, L = q.shape[:2]
    if window is None:
      gather = lambda x: lax.all_gather(x, axes, axis=1, tiled=True)
      k, v, segment_ids, mask = jax.tree.map(gather, (k, v, segment_ids, mask))
      row = Context(B, k.shape[1], segment_ids=segment_ids, mask=mask)
      start = L * lax.axis_index(axes)
      return blocked_attention.causal_attention(q, k, v, row, first=start)
    if mask is None:
      mask = jnp.ones((B, L), bool)
    row = Context(B, L, segment_ids=segment_ids, mask=mask)
    reach = blocked_attention.reach(window)
    rows = Before(k, v, segment_ids, mask)
    before = jax.tree.map(
        lambda x, *first: parallel.before(x, reach, axes, *first),
        *((rows,) if first is None else (rows, first)),
    )
    return blocked_attention.window_attention(
        q, k, v, row, window=window, before=before
    )

  of_marks = jax.tree.map(lambda _: PartitionSpec(*places[:2]), marks)
  rows, _, heads = places
  of_first = jax.tree.map(
      lambda x: PartitionSpec(rows, None, *[heads][: x.ndim - 2]), first
  )
  specs = *[places] * 3, *of_marks, of_first
  return sharding.on_shards(attend, specs, places)(q, k, v, *marks, first)


def cached_attention(
    q: jax.Array, cache: KVCache, positions: jax.Array, axes: Sequence[str]
) -> jax.Array:
  """As `blocked_attention.cached_attention`, of queries that devices divide.

  Args:
    q: [B, L, H, D].
    cache: it has the tokens of the queries; every device has all S slots.
    positions: int32 [B, L], the position of each query.
    axes: the mesh axes that divide the L positions.

  Returns:
    [B, L, H, D], in the dtype of the values.
  """
  if not axes:
    return blocked_attention.cached_attention(q, cache.k, cache.v, positions)
  places = parallel.spec(
      q.shape, (parallel.BATCH_AXES, axes, parallel.HEAD_AXES)
  )
  rows, _, heads = places
  slots = PartitionSpec(rows, None, heads)
  return sharding.on_shards(
      blocked_attention.cached_attention,
      (places, slots, slots, PartitionSpec(*places[:2])),
      places,
  )(q, cache.k, cache.v, positions)
