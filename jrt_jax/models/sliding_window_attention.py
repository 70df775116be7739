"""Softmax attention over the last W tokens."""

from typing import NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.models.context import Context
from jrt_jax.models.layers import Build
from jrt_jax.models.rotary import rotary


class WindowState(NamedTuple):
  """The keys and values that the next token may still see, as a ring."""

  k: jax.Array  # [B, W, H, D], rotated; token p of the document is at p mod W
  v: jax.Array  # [B, W, H, D]
  count: jax.Array  # int32 [B], tokens of the document so far


class SlidingWindowAttention(nnx.Module):
  """Each query sees the last W keys of its document, its own included.

  Args:
    implementation: 'blocked', 'cudnn', or 'auto': cuDNN on a GPU, for bfloat16
      rows without padding or documents, and blocks elsewhere.
  """

  def __init__(
      self,
      build: Build,
      *,
      num_heads: int,
      window: int,
      rope_base: float,
      implementation: str = 'auto',
  ):
    if build.width % (2 * num_heads):
      raise ValueError(
          f'config.model.width must be a multiple of {2 * num_heads} for rotary'
          f' embeddings in {num_heads} heads, got {build.width}'
      )
    if window < 1:
      raise ValueError(f'config.model.window must be at least 1, got {window}')
    self.qkv = build.linear(build.width, (3, build.width))
    self.out_proj = build.linear_out(build.width)
    self.num_heads = num_heads
    self.window = window
    self.rope_base = rope_base
    self.implementation = implementation

  def __call__(self, x: jax.Array, context: Context, *, return_state=False):
    """Maps [B, L, E] to [B, L, E], and with `return_state` the state."""
    positions = context.positions()
    q, k, v = self._qkv(x, positions)
    y = self._attend(q, k, v, context)
    y = self.out_proj(y.reshape(x.shape))
    if not return_state:
      return y
    return y, _ring(k, v, positions, context, self.window)

  def step(self, x: jax.Array, state: WindowState):
    """Maps one token [B, E] and the state to [B, E] and the next state."""
    q, k, v = self._qkv(x, state.count)
    W = self.window
    rows = jnp.arange(len(x))
    state = WindowState(
        state.k.at[rows, state.count % W].set(k),
        state.v.at[rows, state.count % W].set(v),
        state.count + 1,
    )
    see = jnp.arange(W) < state.count[:, None]
    y = _attention(q[:, None], state.k, state.v, see[:, None, None])
    return self.out_proj(y.reshape(x.shape)), state

  def _qkv(self, x, positions):
    """Rotated q and k, and v, each [..., H, D]."""
    qkv = self.qkv(x).reshape(*x.shape[:-1], 3, self.num_heads, -1)
    q, k, v = jnp.moveaxis(qkv, -3, 0)
    q, k = (rotary(z, positions, base=self.rope_base) for z in (q, k))
    return q, k, v

  def _attend(self, q, k, v, context):
    fits = _cudnn_takes(q, context)
    implementation = self.implementation
    if implementation == 'auto':
      on_gpu = jax.default_backend() == 'gpu'
      implementation = 'cudnn' if fits and on_gpu else 'blocked'
    if implementation == 'blocked':
      return blocked_attention(q, k, v, context, window=self.window)
    if not fits:
      raise NotImplementedError(
          'cudnn takes bfloat16 rows of even length without padding and'
          f' documents, and head widths that 8 divides, got {q.dtype} [B, L, H,'
          f' D] = {[*q.shape]}'
      )
    return jax.nn.dot_product_attention(
        q,
        k,
        v,
        is_causal=True,
        local_window_size=(self.window - 1, 0),
        implementation='cudnn',
    )


def _cudnn_takes(q, context):
  _, L, _, D = q.shape
  plain = context.mask is None and context.segment_ids is None
  return plain and q.dtype == jnp.bfloat16 and L % 2 == 0 and D % 8 == 0


def blocked_attention(q, k, v, context: Context, *, window: int) -> jax.Array:
  """Exact attention over the last `window` keys in O(L · window) memory.

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

  def blocks(x):
    x = jnp.pad(x, [(0, 0), (0, -L % C)] + [(0, 0)] * (x.ndim - 2))
    return x.reshape(B, -1, C, *x.shape[2:])

  def with_previous(x):
    before = jnp.pad(x[:, :-1], [(0, 0), (1, 0)] + [(0, 0)] * (x.ndim - 2))
    return jnp.concatenate([before, x], axis=2)

  query, key = jnp.arange(C)[:, None] + C, jnp.arange(2 * C)[None]
  distance = query - key
  see = (distance >= 0) & (distance < window)  # [C, 2C]
  first = (jnp.arange(-(-L // C)) == 0)[:, None, None]
  see = see & ~(first & (key < C))  # [N, C, 2C]; nothing is before the first
  if context.segment_ids is not None:
    segment = blocks(context.segment_ids)
    see = see & (segment[..., None] == with_previous(segment)[:, :, None])
  if context.mask is not None:
    token = with_previous(blocks(context.mask))[:, :, None]
    see = see & (token | (distance == 0))
  see = jnp.broadcast_to(see, (B, *see.shape[-3:]))[:, :, None]
  y = _attention(
      blocks(q), with_previous(blocks(k)), with_previous(blocks(v)), see
  )
  return y.reshape(B, -1, H, D)[:, :L]


def _attention(q, k, v, see):
  """q [..., Q, H, D], k and v [..., K, H, D], see bool [..., 1, Q, K]."""
  scale = q.shape[-1] ** -0.5
  scores = jnp.einsum(
      '...qhd,...khd->...hqk', q, k, preferred_element_type=jnp.float32
  )
  weights = jax.nn.softmax(jnp.where(see, scores * scale, -1e30))
  return jnp.einsum('...hqk,...khd->...qhd', weights.astype(v.dtype), v)


def _ring(k, v, positions, context, W):
  """The state after the last token of each row."""
  count = context.at_last(positions) + 1  # [B]
  # Slot s holds the newest token p < count with p = s mod W, if there is one.
  newest = count[:, None] - 1
  token = newest - (newest - jnp.arange(W)) % W  # [B, W]
  row = token + (context.last()[:, None] - newest)
  held = (token >= 0)[..., None, None]

  def take(x):
    taken = jnp.take_along_axis(x, jnp.maximum(row, 0)[..., None, None], axis=1)
    return jnp.where(held, taken, 0)

  return WindowState(take(k), take(v), count.astype(jnp.int32))
