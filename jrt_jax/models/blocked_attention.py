"""Exact softmax attention on any device, computed in blocks of queries."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrt_jax.models.context import Context


def causal_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    context: Context,
    *,
    first: jax.Array | int = 0,
    block: int = 256,
) -> jax.Array:
  """Causal attention over all keys, in O(L · block) memory.

  Blocks of queries are computed one after the other, and the backward pass
  recomputes their scores. Padding is seen by itself only, so that
  every query sees a key.

  Args:
    q: [B, Q, H, D], the queries of adjacent positions.
    k, v: [B, L, H, D].
    context: the documents and the padding of the keys.
    first: the position of the first query; by default queries and keys have the
      same positions.
    block: number of queries in a block.

  Returns:
    [B, Q, H, D], in the dtype of v.
  """
  (B, Q, H, D), L = q.shape, k.shape[1]
  C = min(block, Q)
  dtype = v.dtype
  # The backward pass sums the derivatives of k and v over blocks, in float32.
  k, v = (x.astype(jnp.float32) for x in (k, v))

  @jax.checkpoint
  def attend(query):
    q, index, segment = query
    distance = index[:, None] - jnp.arange(L)
    see = _visible(distance, segment, context.segment_ids, context.mask)
    return masked_attention(q, k.astype(dtype), v.astype(dtype), see)

  by_block = lambda x: jnp.moveaxis(_blocks(x, C), 1, 0)
  index = first + jnp.arange(Q + -Q % C).reshape(-1, C)
  segment = context.segment_ids
  if segment is not None:
    segment = by_block(jax.lax.dynamic_slice_in_dim(segment, first, Q, axis=1))
  y = jax.lax.map(attend, (by_block(q), index, segment))
  return jnp.moveaxis(y, 0, 1).reshape(B, -1, H, D)[:, :Q]


class Before(NamedTuple):
  """The C positions before rows; C is `reach(window)`."""

  k: jax.Array  # [B, C, H, D]
  v: jax.Array  # [B, C, H, D]
  segment_ids: jax.Array | None  # int32 [B, C]
  mask: jax.Array  # bool [B, C], False where there is no token


def reach(window: int) -> int:
  """Returns how many positions before a query `window_attention` may need."""
  return max(window - 1, 1)


def window_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    context: Context,
    *,
    window: int,
    sinks: int = 0,
    earlier: tuple[jax.Array, jax.Array, jax.Array] | None = None,
    before: Before | None = None,
) -> jax.Array:
  """Attention over the last `window` keys in O(L · window) memory.

  Blocks of window - 1 queries see their own block of keys and the one before.
  Padding is seen by itself only, so that every query sees a key.

  Args:
    q, k, v: [B, L, H, D].
    context: the documents and the padding of the rows.
    window: number of keys that a query sees, including its own.
    sinks: S, the number of first keys of its document that a query also sees.
    earlier: the sinks of rows that continue a document: their keys and values
      [B, S, H, D], and the position of the start of each row in the document,
      int32 [B], which is negative if the row starts with padding.
    before: the positions before rows that continue others, without sinks; then
      `context` must have a mask, and L be at least C.

  Returns:
    [B, L, H, D], in the dtype of v.

  Source of sinks: Xiao et al. 2023 (StreamingLLM),
  https://arxiv.org/abs/2309.17453. Unlike there, keys keep their positions.
  """
  B, L, H, D = q.shape
  C = min(reach(window), L)
  rows = Before(k, v, context.segment_ids, context.mask)
  rows = jax.tree.map(lambda x: _blocks(x, C), rows)
  keys, values, *marks = (
      _with_previous(*x) for x in zip(rows, before or (None,) * len(rows))
  )
  key = jnp.arange(2 * C)
  distance = jnp.arange(C)[:, None] + C - key
  see, near = _visible(distance, rows.segment_ids, *marks), distance < window
  if before is None:
    block = jnp.arange(-(-L // C))[:, None, None]
    see &= (block > 0) | (key >= C)  # the first block has none before it
  if sinks:
    places = _places(context, C, earlier)
    first_k, first_v = _first_keys(rows.k, rows.v, places, sinks, earlier)
    see_first, near = _see_sinks(places, near, sinks)
    keys = jnp.concatenate([first_k, keys], axis=2)
    values = jnp.concatenate([first_v, values], axis=2)
    see = jnp.concatenate([see_first, see & near], axis=-1)
  else:
    see &= near
  y = masked_attention(_blocks(q, C), keys, values, see)
  return y.reshape(B, -1, H, D)[:, :L]


class _Places(NamedTuple):
  """The places of N blocks of C positions in their documents."""

  position: (
      jax.Array
  )  # int32 [B, N, C], counted from the document's first token
  start: jax.Array  # int32 [B, N, C], the index of that token in the row
  token: jax.Array  # bool [B, N, C], False at padding


def _places(context, C, earlier):
  index = jnp.arange(context.length)
  if earlier is None:
    position = context.positions()
  else:
    position = index + earlier[2][:, None]
  token = context.mask
  if token is None:
    token = jnp.ones(position.shape, bool)
  return _Places(*(_blocks(x, C) for x in (position, index - position, token)))


def _first_keys(k, v, places, S, earlier):
  """Returns the first keys and values of the document where each block starts.

  They are [B, N, S, H, D]. If a document begins inside a block, its first keys
  are in the block itself.
  """
  B, N, C, H, D = k.shape
  if earlier is not None:
    return [jnp.repeat(x[:, None], N, axis=1) for x in earlier[:2]]
  place = places.start[..., :1] + jnp.arange(S)
  place = jnp.clip(place, 0, N * C - 1).reshape(B, N * S, 1, 1)
  take = lambda x: jnp.take_along_axis(x.reshape(B, -1, H, D), place, axis=1)
  return [take(x).reshape(B, N, S, H, D) for x in (k, v)]


def _see_sinks(places, near, S):
  """Returns which first keys of its block a query sees, and which other keys.

  They are bool [B, N, C, S] and [B, N, C, 2C]. A sink is seen in one of the two
  only.
  """
  begins, is_token = places.start[..., :1], places.token[..., :1]
  in_first = lambda x: x.token & is_token & (x.start == begins)
  see_first = jnp.arange(S) <= places.position[..., None]
  keys = _Places(*map(_with_previous, places))
  is_sink = keys.token & (keys.position < S)
  near = jnp.where(is_sink[..., None, :], ~in_first(keys)[..., None, :], near)
  return see_first & in_first(places)[..., None], near


def _with_previous(x, first=None):
  """Maps [B, N, C, ...] to [B, N, 2C, ...], prepending the previous block.

  Before the first block is `first`, [B, C, ...], or zeros. None remains None.
  """
  if x is None:
    return None
  first = jnp.zeros_like(x[:, 0]) if first is None else first
  before = jnp.concatenate([first[:, None], x[:, :-1]], axis=1)
  return jnp.concatenate([before, x], axis=2)


def cached_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    positions: jax.Array,
    *,
    block: int = 256,
) -> jax.Array:
  """Attention over a cache of S slots, with token s in slot s.

  Args:
    q: [B, L, H, D].
    k, v: [B, S, H, D], the cache, which already has the tokens of the queries.
    positions: int32 [B, L], the position of each query, which sees the slots up
      to it.
    block: number of queries in a block; memory is O(S · block).

  Returns:
    [B, L, H, D], in the dtype of v.
  """
  B, L, H, D = q.shape

  def attend(query):
    q, position = query
    see = jnp.arange(k.shape[1]) <= position[..., None]
    return masked_attention(q, k, v, see)

  by_block = lambda x: jnp.moveaxis(_blocks(x, min(block, L)), 1, 0)
  y = jax.lax.map(attend, (by_block(q), by_block(positions)))
  return jnp.moveaxis(y, 0, 1).reshape(B, -1, H, D)[:, :L]


def masked_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, see: jax.Array
) -> jax.Array:
  """Attention of every query over the keys that it sees.

  Args:
    q: [..., Q, H, D].
    k, v: [..., K, H, D].
    see: bool, broadcastable to [..., Q, K].

  Returns:
    [..., Q, H, D], in the dtype of v; scores and the softmax are float32.
  """
  scale = q.shape[-1] ** -0.5
  scores = jnp.einsum(
      '...qhd,...khd->...hqk', q, k, preferred_element_type=jnp.float32
  )
  see = see[..., None, :, :]  # the same for every head
  weights = jax.nn.softmax(jnp.where(see, scores * scale, -1e30))
  return jnp.einsum('...hqk,...khd->...qhd', weights.astype(v.dtype), v)


def _visible(distance, query_segment, key_segment, token):
  """Returns which keys are in the document of a query and not after it.

  This is bool [..., Q, K]. Segments and tokens are [..., Q] and [..., K], or
  None; distance is [Q, K].
  """
  see = distance >= 0
  if key_segment is not None:
    see = see & (query_segment[..., None] == key_segment[..., None, :])
  if token is not None:
    see = see & (token[..., None, :] | (distance == 0))
  return see


def _blocks(x, C):
  """Maps [B, L, ...] to [B, ⌈L/C⌉, C, ...], padding with zeros."""
  B, L = x.shape[:2]
  x = jnp.pad(x, [(0, 0), (0, -L % C)] + [(0, 0)] * (x.ndim - 2))
  return x.reshape(B, -1, C, *x.shape[2:])
