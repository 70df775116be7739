"""The decode state of softmax attention: the keys and values still seen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrt_jax.models.context import Context


class KVCache(NamedTuple):
  """The keys and values that the next token may still see, in S slots."""

  k: jax.Array  # [B, S, H, D], rotated; token p of the document is at p mod S
  v: jax.Array  # [B, S, H, D]
  count: jax.Array  # int32 [B], tokens of the document so far


def newest(
    k: jax.Array, v: jax.Array, count: jax.Array, last: jax.Array, S: int
) -> KVCache:
  """Returns the cache of S slots after rows [B, L, H, D].

  Args:
    k, v: the keys and values, of contiguous tokens in each row.
    count: int32 [B], tokens of the document up to the last one of the row.
    last: int32 [B], where in the row that is.
    S: slots.
  """
  # Slot s holds the newest token p < count with p = s mod S, if there is one.
  end = count[:, None] - 1
  token = end - (end - jnp.arange(S)) % S  # [B, S]
  row = token + (last + 1 - count)[:, None]
  held = (token >= 0)[..., None, None]

  def take(x):
    taken = jnp.take_along_axis(x, jnp.maximum(row, 0)[..., None, None], axis=1)
    return jnp.where(held, taken, 0)

  return KVCache(take(k), take(v), count.astype(jnp.int32))


def after_window(
    state: KVCache, q: jax.Array, k: jax.Array, v: jax.Array, context: Context
) -> tuple[jax.Array, jax.Array, jax.Array, Context]:
  """Puts the W tokens of a window before rows q, k, v [B, L, H, D].

  Returns them as [B, W + L, H, D], with queries of 0 before the row, and the
  context of these longer rows.
  """
  B, W = state.k.shape[:2]
  token = state.count[:, None] - W + jnp.arange(W)
  ordered = lambda x: jnp.take_along_axis(
      x, (token % W)[..., None, None], axis=1
  )
  mask = context.mask
  if mask is None:
    mask = jnp.ones((B, context.length), bool)
  join = lambda before, x: jnp.concatenate([before, x], axis=1)
  longer = Context(B, W + context.length, mask=join(token >= 0, mask))
  before = ordered(state.k)
  return (
      join(jnp.zeros_like(before), q),
      join(before, k),
      join(ordered(state.v), v),
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
  """Writes rows [B, L, H, D] to slots `positions`, int32 [B, L], if they exist.

  Padding, where `mask` is False, is not written. `count` is the new one.
  """
  B, S = state.k.shape[:2]
  slot = positions if mask is None else jnp.where(mask, positions, S)
  place = jnp.arange(B)[:, None], slot
  write = lambda cache, x: cache.at[place].set(x, mode='drop')
  return KVCache(write(state.k, k), write(state.v, v), count.astype(jnp.int32))
