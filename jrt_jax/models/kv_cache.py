"""The decode state of softmax attention: a cache of keys and values."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrt_jax.models import parallel
from jrt_jax.models.context import Context


class KVCache(NamedTuple):
  """The keys and values that the next token can see, in S slots.

  The first slots hold the sinks, which are tokens 0, 1, … of the document. The
  other slots are a ring buffer of the latest tokens.
  """

  k: jax.Array  # [B, S, H, D], rotated; see `slot_of`
  v: jax.Array  # [B, S, H, D]
  count: jax.Array  # int32 [B], tokens of the document so far


def slot_of(token: jax.Array, slots: int, sinks: int = 0) -> jax.Array:
  """Returns the slots of tokens, int32 [...] counted within the document."""
  ring = sinks + (token - sinks) % (slots - sinks)
  return jnp.where(token < sinks, token, ring)


def newest(
    k: jax.Array,
    v: jax.Array,
    count: jax.Array,
    last: jax.Array,
    slots: int,
    *,
    sinks: int = 0,
    before: KVCache | None = None,
    sequence_axes: Sequence[str] = (),
) -> KVCache:
  """Returns the cache after reading rows [B, L, H, D].

  Args:
    k, v: keys and values of contiguous tokens in each row.
    count: int32 [B], tokens of the document up to the last one of the row.
    last: int32 [B], the index of that token in the row.
    slots: S, number of slots.
    sinks: number of slots for the first tokens of the document.
    before: the cache before the row, for tokens that are not in the row.
    sequence_axes: the mesh axes that divide the L positions.
  """
  # A slot of the ring holds the latest token that belongs there, if any.
  slot, end = jnp.arange(slots), count[:, None] - 1
  newest = end - (end - slot) % (slots - sinks)
  token = jnp.where(slot < sinks, slot, newest)  # [B, S]
  held = jnp.where(slot < sinks, slot <= end, newest >= sinks)
  row = token + (last + 1 - count)[:, None]

  def take(x, earlier):
    taken = parallel.take(x, jnp.maximum(row, 0), sequence_axes)
    if earlier is not None:
      taken = jnp.where((row < 0)[..., None, None], earlier, taken)
    return jnp.where(held[..., None, None], taken, 0)

  earlier = (None, None) if before is None else (before.k, before.v)
  k, v = map(take, (k, v), earlier)
  return KVCache(k, v, count.astype(jnp.int32))


def window(
    state: KVCache, sinks: int = 0
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns the W tokens of the window in `state`, in their order.

  These are keys and values [B, W, H, D], and bool [B, W], False where there is
  no token. `sinks` slots of the state are not part of the window.
  """
  slots = state.k.shape[1]
  W = slots - sinks
  token = state.count[:, None] - W + jnp.arange(W)
  slot = slot_of(jnp.maximum(token, 0), slots, sinks)
  ordered = lambda x: jnp.take_along_axis(x, slot[..., None, None], axis=1)
  return ordered(state.k), ordered(state.v), token >= 0


def after_window(
    state: KVCache,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    context: Context,
    *,
    sinks: int = 0,
) -> tuple[jax.Array, jax.Array, jax.Array, Context]:
  """Prepends the W tokens of the window in `state` to rows [B, L, H, D].

  Returns q, k, v [B, W + L, H, D], whose first W queries are 0, and the context
  of these longer rows. `sinks` slots of the state are not part of the window.
  """
  before_k, before_v, held = window(state, sinks)
  B, W = held.shape
  mask = context.mask
  if mask is None:
    mask = jnp.ones((B, context.length), bool)
  join = lambda before, x: jnp.concatenate([before, x], axis=1)
  longer = Context(B, W + context.length, mask=join(held, mask))
  return (
      join(jnp.zeros_like(before_k), q),
      join(before_k, k),
      join(before_v, v),
      longer,
  )


def append(
    state: KVCache,
    k: jax.Array,
    v: jax.Array,
    count: jax.Array,
    positions: jax.Array,
    mask: jax.Array | None,
) -> KVCache:
  """Writes rows [B, L, H, D] to the slots `positions`, int32 [B, L].

  Slots that do not exist, and padding (where `mask` is False), are not written.
  `count` is the new count.
  """
  B, S = state.k.shape[:2]
  slot = positions if mask is None else jnp.where(mask, positions, S)
  place = jnp.arange(B)[:, None], slot
  write = lambda cache, x: cache.at[place].set(x, mode='drop')
  return KVCache(write(state.k, k), write(state.v, v), count.astype(jnp.int32))
