"""Softmax attention of rows whose positions devices divide."""

import jax
from jax import lax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jrt_jax.models import blocked_attention
from jrt_jax.models import parallel
from jrt_jax.models.blocked_attention import Before
from jrt_jax.models.context import Context
from pallas_kernels import sharding


def divided_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    context: Context,
    *,
    window: int | None,
) -> jax.Array:
  """Attention of queries to keys of their own device and of others.

  With a window, a device gets the keys and values of the last positions of the
  device before it, otherwise those of all positions.

  Args:
    q, k, v: [B, L, H, D].
    context: of the rows; it has `sequence_axes`.
    window: number of keys that a query sees, including its own; None: all
      earlier keys.

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

  def attend(q, k, v, segment_ids, mask):
    B, L = q.shape[:2]
    if window is None:
      gather = lambda x: lax.all_gather(x, axes, axis=1, tiled=True)
      k, v, segment_ids, mask = jax.tree.map(gather, (k, v, segment_ids, mask))
      row = Context(B, k.shape[1], segment_ids=segment_ids, mask=mask)
      first = L * lax.axis_index(axes)
      return blocked_attention.causal_attention(q, k, v, row, first=first)
    if mask is None:
      mask = jnp.ones((B, L), bool)
    row = Context(B, L, segment_ids=segment_ids, mask=mask)
    reach = blocked_attention.reach(window)
    before = jax.tree.map(
        lambda x: parallel.before(x, reach, axes),
        Before(k, v, segment_ids, mask),
    )
    return blocked_attention.window_attention(
        q, k, v, row, window=window, before=before
    )

  of_marks = jax.tree.map(lambda _: PartitionSpec(*places[:2]), marks)
  return sharding.on_shards(attend, (*[places] * 3, *of_marks), places)(
      q, k, v, *marks
  )
