"""Packed documents and padding on Hopper, as two integers for each position.

Positions are counted from the start of their chunk of 128. Each position i has

    start[i]  the first position of its document; in the first document, which
              has the prefix and the initial state, less than 0
    end[i]    the position after the last one of its document; 0 if there is no
              token at i

A query at i sees the key at j <= i if start[i] <= j < end[j], which is
equivalent to i < end[j]. No query sees padding; a query at padding sees its
document. The state before (or after) a chunk has the keys of one document, that
of the position just before (or after) the chunk. In a chunk

    a query reads the state if start[i] < 0
    a key enters the state if end[j] >= 128
    the state is kept if start[127] < 0, else it is reset

Keys of the prefix enter the state if their end is 128. Both integers are copied
to shared memory with the keys. Without documents and padding, kernels are
compiled without all this.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import F32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import I32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import PER_COLUMN
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import PER_ROW
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import ROWS

_SQUARE = ROWS, ROWS


class Documents(NamedTuple):
  """The integers for the kernels, int32."""

  start: jax.Array  # [B, L]
  end: jax.Array  # [B, L]
  end_enc: jax.Array | None  # [B, P]


def of_inputs(inputs: inputs_lib.Inputs, L: int, P: int) -> Documents:
  """Documents of inputs that are padded to L tokens and P prefix positions."""
  # The last document has no end, so that its state survives.
  segment = _pad(inputs.segment, L, mode='edge')
  index = jnp.arange(L)
  first = jnp.diff(segment, axis=1, prepend=segment[:, :1]) > 0
  start = lax.cummax(jnp.where(first, index, -1), axis=1)
  next_first = lax.cummin(jnp.where(first, index, L), axis=1, reverse=True)
  end = _pad(next_first[:, 1:], L, constant_values=L)
  begin = index // CHUNK * CHUNK
  return Documents(
      start=start - begin,
      end=jnp.where(_pad(inputs.mask, L), end - begin, 0),
      end_enc=CHUNK * _pad(inputs.prefix_mask, P).astype(jnp.int32),
  )


def entering_segment(documents: Documents, segments: int) -> jax.Array:
  """int32 [B, L]: 128 where a key is in the state after its segment, else 0."""
  L = documents.end.shape[1]
  index = jnp.arange(L)
  left = -(1 + index) % (L // segments)  # later positions of the segment
  return CHUNK * (documents.end - index % CHUNK > left).astype(jnp.int32)


def reaches(documents: Documents, segments: int) -> jax.Array:
  """Returns which segments contribute to the state after each segment.

  Returns:
    float32 [B, segments + 1, segments + 1]: entry [b, s, t] is 1 if the state
    after s segments contains the initial state (t = 0) or the sum of the t-th
    segment, else 0.
  """
  L = documents.start.shape[1]
  border = jnp.arange(segments + 1) * (L // segments)
  last = border[1:] - 1
  start = documents.start[:, last] + last // CHUNK * CHUNK
  start = jnp.pad(start, ((0, 0), (1, 0)), constant_values=-1)
  return jnp.tril(start[:, :, None] < border).astype(jnp.float32)


def _pad(x, length, **options):
  return jnp.pad(x, ((0, 0), (0, length - x.shape[1])), **options)


# The following functions run in kernels. `start` and `end` are int32 [128] in
# shared memory; a half is the first or the second 64 positions.


def scratch(stages: int) -> dict[str, Any]:
  """Buffers in shared memory, by name."""
  buffer = plgpu.SMEM((stages, CHUNK), I32)
  return {'start_stage': buffer, 'end_stage': buffer}


def sees(start: Any, end: Any, queries: int, keys: int) -> jax.Array:
  """bool [64, 64]: which queries of one half see which keys of another.

  It does not check that keys come before queries.
  """
  key = blocks.iota(_SQUARE, 1) + I32(keys * ROWS)
  row = blocks.broadcast_rows(_load(start, queries, PER_ROW), _SQUARE)
  column = blocks.broadcast_columns(_load(end, keys, PER_COLUMN), _SQUARE)
  return (key >= row) & (key < column)


def seen(end: jax.Array, queries: int) -> jax.Array:
  """The same transposed: rows are keys, whose `end` is in registers."""
  query = blocks.iota(_SQUARE, 1) + I32(queries * ROWS)
  return query < blocks.broadcast_rows(end, _SQUARE)


def reading(start: Any, half: int) -> jax.Array:
  """bool [64, 16]: rows of the queries that read the state."""
  return _broadcast(_load(start, half, PER_ROW)) < I32(0)


def entering(end: Any) -> Callable[[int], jax.Array]:
  """Maps a half to bool [64, 16]: rows of the keys that enter the state."""
  return lambda half: is_entering(ends(end, half))


def is_entering(end: jax.Array) -> jax.Array:
  """The same for the result of `ends`."""
  return _broadcast(end) >= I32(CHUNK)


def ends(end: Any, half: int) -> jax.Array:
  """Loads the ends of a half, int32 [64], `PER_ROW`."""
  return _load(end, half, PER_ROW)


def keep(
    state: tuple[jax.Array, jax.Array], start: Any
) -> tuple[jax.Array, jax.Array]:
  """The state, or zeros if the chunk resets it."""
  factor = jnp.where(start[CHUNK - 1] < 0, F32(1), F32(0))
  return tuple(x * factor for x in state)


def _load(ref, half, layout):
  return blocks.load(ref.at[pl.ds(half * ROWS, ROWS)], layout)


def _broadcast(x):
  return blocks.broadcast_rows(x, (ROWS, blocks.D))
