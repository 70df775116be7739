"""Mixers of softmax attention, over all earlier tokens or the last W."""

from collections.abc import Mapping
from typing import Any, Literal

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.cost import mixers
from jrt_jax.models import blocked_attention
from jrt_jax.models import divided_attention
from jrt_jax.models import kv_cache
from jrt_jax.models import parallel
from jrt_jax.models.context import Context
from jrt_jax.models.kv_cache import KVCache
from jrt_jax.models.layers import Build
from jrt_jax.models.rotary import rotary


class SoftmaxAttention(nnx.Module):
  """Each query sees the last W keys of its document, or all earlier keys.

  Args:
    build: makes the layers.
    num_heads: H.
    window: W, including the query's own key; the state is a ring of W slots.
      None: all keys; the state has slots for `Context.state_capacity` tokens,
      and outputs after more tokens are NaN.
    rope_base: base of the rotary embeddings.
    rope_fraction: the fraction of each head that rotary embeddings rotate.
    sinks: with a window, the number S of first keys of its document that a
      query also sees; the state has S more slots.
    implementation: 'blocked', 'cudnn', or 'auto'. 'auto' is cuDNN on a GPU, for
      bfloat16 rows without padding or documents, and 'blocked' elsewhere. Where
      devices divide the positions of rows, it is always 'blocked'.
  """

  def __init__(
      self,
      build: Build,
      *,
      num_heads: int,
      window: int | None,
      rope_base: float,
      rope_fraction: float = 1.0,
      sinks: int = 0,
      implementation: str = 'auto',
  ):
    mixers.head_width(build.width, num_heads, rotary=True)
    self.qkv = build.projections(build.width, 3, build.width)
    self.out_proj = build.linear_out(build.width)
    self.num_heads = num_heads
    self.window = window
    self.sinks = 0 if window is None else sinks
    self.rope_base = rope_base
    self.rope_fraction = rope_fraction
    self.implementation = implementation

  def __call__(
      self, x: jax.Array, context: Context, *, state=None, return_state=False
  ):
    """Maps [B, L, E] to [B, L, E], and with `return_state` the state.

    Starts from `state`, which was returned for the tokens before, if given.
    """
    positions, count = context.positions(), context.document_length()
    if state is not None:
      positions += state.count[:, None]
      count += state.count
    q, k, v = self._qkv(x, positions)
    if state is not None:
      y, state = self._continue(q, k, v, positions, count, context, state)
    else:
      y = self._attend(q, k, v, context)
    y = self.out_proj(y.reshape(x.shape))
    if not return_state:
      return y
    if state is None:
      slots = self._slots or context.state_capacity or context.length
      state = kv_cache.newest(
          *(k, v, count, context.last(), slots),
          sinks=self.sinks,
          sequence_axes=context.sequence_axes,
      )
    return y, state

  def step(self, x: jax.Array, state: KVCache):
    """Maps one token [B, E] and the state to [B, E] and the next state."""
    q, k, v = self._qkv(x, state.count)
    S = state.k.shape[1]
    slot = kv_cache.slot_of(state.count, S, self.sinks)
    rows = jnp.arange(len(x))
    state = KVCache(
        state.k.at[rows, slot].set(k),
        state.v.at[rows, slot].set(v),
        state.count + 1,
    )
    see = jnp.arange(S) < state.count[:, None]
    y = blocked_attention.masked_attention(
        q[:, None], state.k, state.v, see[:, None]
    ).reshape(x.shape)
    if self.window is None:
      y = _nan_beyond_capacity(y, state.count, state)
    return self.out_proj(y), state

  @property
  def _slots(self):
    """Number of slots of the state; None: one for each token."""
    return None if self.window is None else self.sinks + self.window

  def _qkv(self, x, positions):
    """Returns rotated q and k, and v, each [..., H, D]."""
    shape = *x.shape[:-1], self.num_heads, -1
    q, k, v = (y.reshape(shape) for y in self.qkv(x))
    turn = {'base': self.rope_base, 'fraction': self.rope_fraction}
    return rotary(q, positions, **turn), rotary(k, positions, **turn), v

  def _continue(self, q, k, v, positions, count, context, state):
    axes = context.sequence_axes
    if W := self.window:
      S = self.sinks
      following = kv_cache.newest(
          *(k, v, count, context.last(), S + W),
          sinks=S,
          before=state,
          sequence_axes=axes,
      )
      if axes:
        return self._attend(q, k, v, context, state=state), following
      q, k, v, context = kv_cache.after_window(state, q, k, v, context, sinks=S)
      first = following.k[:, :S], following.v[:, :S], state.count - W
      return self._attend(q, k, v, context, earlier=first)[:, W:], following
    # Each device has the whole cache.
    k, v = parallel.lay((k, v), (parallel.BATCH_AXES, None, parallel.HEAD_AXES))
    state = kv_cache.append(state, k, v, count, positions, context.mask)
    y = divided_attention.cached_attention(q, state, positions, axes)
    seen = positions + 1
    if context.mask is not None:  # a NaN at padding would spread to tokens
      seen = jnp.where(context.mask, seen, 0)
    return _nan_beyond_capacity(y, seen, state), state

  def _attend(self, q, k, v, context, earlier=None, state=None):
    if context.sequence_axes:
      if self.sinks:
        raise ValueError(
            'config.model.sinks must be 0 where devices divide the positions of'
            f' rows (config.mesh.sequence), got {self.sinks}'
        )
      return divided_attention.attention(
          q, k, v, context, window=self.window, state=state
      )
    fits = not self.sinks and _cudnn_takes(q, context)
    implementation = self.implementation
    if implementation == 'auto':
      on_gpu = jax.default_backend() == 'gpu'
      implementation = 'cudnn' if fits and on_gpu else 'blocked'
    if implementation == 'cudnn':
      if not fits:
        raise NotImplementedError(
            'cudnn supports bfloat16 rows of even length without padding,'
            ' documents and sinks, and head widths up to 128, got'
            f' {q.dtype} [B, L, H, D] = {[*q.shape]}, sinks={self.sinks}'
        )
      return fused_attention(q, k, v, window=self.window)
    if self.window is None:
      return blocked_attention.causal_attention(q, k, v, context)
    return blocked_attention.window_attention(
        *(q, k, v, context),
        window=self.window,
        sinks=self.sinks,
        earlier=earlier,
    )


def attention(build: Build, config: Mapping[str, Any]) -> SoftmaxAttention:
  """The mixer `attention` of `config.model`."""
  return _of_config(build, config, window=None)


def swa(build: Build, config: Mapping[str, Any]) -> SoftmaxAttention:
  """The mixer `swa` of `config.model`."""
  return _of_config(build, config, window=config['window'])


def _of_config(build, config, *, window):
  return SoftmaxAttention(
      build,
      num_heads=config['num_heads'],
      window=window,
      rope_base=config['rope_base'],
      rope_fraction=config['rope_fraction'],
      sinks=config['sinks'],
  )


def _cudnn_takes(q, context):
  _, L, _, D = q.shape
  plain = context.mask is None and context.segment_ids is None
  return plain and q.dtype == jnp.bfloat16 and L % 2 == 0 and D <= 128


def fused_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    window: int | None,
    implementation: Literal['xla', 'cudnn'] = 'cudnn',
) -> jax.Array:
  """Calls the attention of jax.nn, for any head width.

  cuDNN supports multiples of 8 only: heads are padded with zeros, which change
  neither scores nor values.

  Args:
    q, k, v: [B, L, H, D].
    window: number of keys that a query sees, including its own; None: all
      earlier keys.
    implementation: an implementation of `jax.nn.dot_product_attention`.

  Returns:
    [B, L, H, D].
  """
  D = q.shape[-1]
  pad = lambda x: jnp.pad(x, [(0, 0)] * 3 + [(0, -D % 8)])
  y = jax.nn.dot_product_attention(
      pad(q),
      pad(k),
      pad(v),
      scale=D**-0.5,
      is_causal=True,
      local_window_size=None if window is None else (window - 1, 0),
      implementation=implementation,
  )
  return y[..., :D]


def _nan_beyond_capacity(y, count, state):
  """Returns y, or NaN where tokens to attend to are no longer in the cache."""
  too_many = count > state.k.shape[1]
  return jnp.where(
      jnp.expand_dims(too_many, [*range(count.ndim, y.ndim)]), jnp.nan, y
  )
