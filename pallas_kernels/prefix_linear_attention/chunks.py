"""Slices rows into chunks, one at a time and in place.

A copy of the rows in chunks would need as much memory again, and so would a
copy of their gradients.
"""

from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention.inputs import State


class Chunk(NamedTuple):
  """C positions of every row and head; the state belongs to one segment.

  For plain rows the flags are None: a query sees all earlier keys.
  """

  q: jax.Array  # [B, H, C, D]
  k: jax.Array  # [B, H, C, D]
  v: jax.Array  # [B, H, C, V]
  segment: jax.Array | None  # [B, C]
  mask: jax.Array | None  # [B, C]
  opened: jax.Array | None  # [B], the segment of the state before this chunk

  @property
  def sees(self):  # [B or 1, 1, C, C], which keys of the chunk a query sees
    if self.segment is None:
      C = self.q.shape[2]
      return jnp.tril(jnp.ones((1, 1, C, C), bool))
    same = self.segment[:, :, None] == self.segment[:, None, :]
    return (jnp.tril(same) & self.mask[:, None, :])[:, None]

  @property
  def reads(self):  # [B, 1, C, 1], which queries see the state
    if self.segment is None:
      return None
    return (self.segment == self.opened[:, None])[:, None, :, None]

  @property
  def writes(self):  # [B, 1, C, 1], which keys enter the state
    if self.segment is None:
      return None
    last = self.segment[:, -1:]
    return ((self.segment == last) & self.mask)[:, None, :, None]

  def kept(self, state):  # the part of the state that outlives the chunk
    if self.segment is None:
      return state
    keeps = (self.segment[:, -1] == self.opened).astype(jnp.float32)
    keeps = keeps[:, None, None]
    return State(state.kv * keeps[..., None], state.k * keeps)


class Causal(NamedTuple):
  """Queries, keys and values, padded to N chunks."""

  q: jax.Array  # [B, N · C, H, D]
  k: jax.Array  # [B, N · C, H, D]
  v: jax.Array  # [B, N · C, H, V]
  segment: jax.Array | None  # [B, N · C]
  mask: jax.Array | None  # [B, N · C]
  size: int  # C

  @classmethod
  def of(cls, inputs, plain, chunk):
    arrays = (filled(x, chunk) for x in (inputs.q, inputs.k, inputs.v))
    if plain:
      return cls(*arrays, None, None, chunk)
    # Padding belongs to the last segment, so that its state survives.
    segment = filled(inputs.segment, chunk, mode='edge')
    return cls(*arrays, segment, filled(inputs.mask, chunk), chunk)

  def chunk(self, i):
    qkv = (take(x, i, self.size) for x in (self.q, self.k, self.v))
    if self.segment is None:
      return Chunk(*qkv, None, None, None)
    segment, mask = (_slice(x, i, self.size) for x in (self.segment, self.mask))
    before = lax.dynamic_index_in_dim(
        self.segment, jnp.maximum(i * self.size - 1, 0), 1, keepdims=False
    )
    return Chunk(*qkv, segment, mask, jnp.where(i == 0, 0, before))


class Prefix(NamedTuple):
  """The padded prefix; chunks beyond the longest prefix are not computed."""

  k: jax.Array  # [B, M · C, H, D]
  v: jax.Array  # [B, M · C, H, V]
  mask: jax.Array  # bool [B, M · C]
  count: jax.Array  # int32, the number of chunks that contain prefix
  size: int  # C

  @classmethod
  def of(cls, k, v, mask, chunk):
    positions = 1 + jnp.arange(mask.shape[1])
    longest = jnp.max(jnp.where(mask, positions, 0), initial=0)
    arrays = (filled(x, chunk) for x in (k, v, mask))
    return cls(*arrays, -(-longest // chunk), chunk)

  def chunk(self, i):
    """k [B, H, C, D], v [B, H, C, V] and the mask [B, 1, C, 1]."""
    mask = _slice(self.mask, i, self.size)[:, None, :, None]
    return *(take(x, i, self.size) for x in (self.k, self.v)), mask


def filled(x, chunk, mode='constant'):
  """Pads [B, L, ...] with zeros to [B, N · C, ...]."""
  fill = -x.shape[1] % chunk
  if not fill:
    return x
  return jnp.pad(x, [(0, 0), (0, fill)] + [(0, 0)] * (x.ndim - 2), mode=mode)


def take(x, i, chunk):
  """Returns [B, H, C, ...], the i-th chunk of [B, N · C, H, ...]."""
  return jnp.swapaxes(_slice(x, i, chunk), 1, 2)


def put(x, part, i, chunk):
  """Sets the i-th chunk of x, the inverse of `take`."""
  part = jnp.swapaxes(part, 1, 2).astype(x.dtype)
  return lax.dynamic_update_slice_in_dim(x, part, i * chunk, axis=1)


def _slice(x, i, chunk):
  return lax.dynamic_slice_in_dim(x, i * chunk, chunk, axis=1)
