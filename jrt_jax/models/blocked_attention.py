"""Exact softmax attention on any device, in blocks of queries."""

import jax
import jax.numpy as jnp

from jrt_jax.models.context import Context


def causal_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, context: Context, *, block=256
) -> jax.Array:
  """Attention over every key so far, in O(L · block) memory.

  Blocks of queries come one after the other, and backward computes their scores
  again. Padding is seen by itself only, so that every query sees a key.

  Args:
    q, k, v: [B, L, H, D].
    context: the documents and the padding of the rows.
    block: queries at a time.

  Returns:
    [B, L, H, D], in the dtype of v.
  """
  B, L, H, D = q.shape
  C = min(block, L)
  dtype = v.dtype
  # Backward adds up over blocks what they say of k and v: in float32.
  k, v = (x.astype(jnp.float32) for x in (k, v))

  @jax.checkpoint
  def attend(query):
    q, index, segment = query
    distance = index[:, None] - jnp.arange(L)
    see = _visible(distance, segment, context.segment_ids, context.mask)
    return masked_attention(q, k.astype(dtype), v.astype(dtype), see)

  by_block = lambda x: jnp.moveaxis(_blocks(x, C), 1, 0)
  index = jnp.arange(L + -L % C).reshape(-1, C)
  segment = jax.tree.map(by_block, context.segment_ids)
  y = jax.lax.map(attend, (by_block(q), index, segment))
  return jnp.moveaxis(y, 0, 1).reshape(B, -1, H, D)[:, :L]


def window_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, context: Context, *, window: int
) -> jax.Array:
  """Attention over the last `window` keys in O(L · window) memory.

  Blocks of window - 1 queries see their own block of keys and the one before.
  Padding is seen by itself only, so that every query sees a key.

  Args:
    q, k, v: [B, L, H, D].
    context: the documents and the padding of the rows.
    window: keys that a query may see, its own included.

  Returns:
    [B, L, H, D], in the dtype of v.
  """
  B, L, H, D = q.shape
  C = min(max(window - 1, 1), L)

  def with_previous(x):
    before = jnp.pad(x[:, :-1], [(0, 0), (1, 0)] + [(0, 0)] * (x.ndim - 2))
    return jnp.concatenate([before, x], axis=2)

  q, k, v, segment, token = jax.tree.map(
      lambda x: _blocks(x, C), (q, k, v, context.segment_ids, context.mask)
  )
  key = jnp.arange(2 * C)
  distance = jnp.arange(C)[:, None] + C - key
  see = _visible(
      distance, segment, *jax.tree.map(with_previous, (segment, token))
  )
  block = jnp.arange(q.shape[1])[:, None, None]
  exists = (block > 0) | (key >= C)  # nothing is before the first block
  y = masked_attention(
      q, with_previous(k), with_previous(v), see & (distance < window) & exists
  )
  return y.reshape(B, -1, H, D)[:, :L]


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
    q: [B, L, H, D], queries of the tokens `positions`, int32 [B, L].
    k, v: [B, S, H, D], with the keys of all tokens up to those.
    positions: a query sees the slots up to its own.
    block: queries at a time; memory is O(S · block).

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
  """Attention of every query over the keys that it may see.

  Args:
    q: [..., Q, H, D].
    k, v: [..., K, H, D].
    see: bool, what broadcasts to [..., Q, K].

  Returns:
    [..., Q, H, D], in the dtype of v; scores and the softmax are float32.
  """
  scale = q.shape[-1] ** -0.5
  scores = jnp.einsum(
      '...qhd,...khd->...hqk', q, k, preferred_element_type=jnp.float32
  )
  see = see[..., None, :, :]  # by every head
  weights = jax.nn.softmax(jnp.where(see, scores * scale, -1e30))
  return jnp.einsum('...hqk,...khd->...qhd', weights.astype(v.dtype), v)


def _visible(distance, query_segment, key_segment, token):
  """Bool [..., Q, K], which keys are of a query's document and not after it.

  Segments and tokens are [..., Q] and [..., K], or None; distance is [Q, K].
  """
  see = distance >= 0
  if key_segment is not None:
    see = see & (query_segment[..., None] == key_segment[..., None, :])
  if token is not None:
    see = see & (token[..., None, :] | (distance == 0))
  return see


def _blocks(x, C):
  """[B, L, ...] to [B, ⌈L/C⌉, C, ...], with zeros at the end."""
  B, L = x.shape[:2]
  x = jnp.pad(x, [(0, 0), (0, -L % C)] + [(0, 0)] * (x.ndim - 2))
  return x.reshape(B, -1, C, *x.shape[2:])
