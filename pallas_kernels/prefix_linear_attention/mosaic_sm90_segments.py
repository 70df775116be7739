"""Splits long sequences into segments if rows and heads do not fill the GPU.

First, the sums of all segments are computed in parallel. Their cumulative sums
are the states before each segment. Then all segments are computed in parallel,
as rows of a larger batch. Keys and values are read twice.
"""

import functools

import jax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import mosaic_sm90_derivatives as derivatives
from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as documents_lib
from pallas_kernels.prefix_linear_attention import roll_features


def attend(
    launch: derivatives.Launch,
    segments: int,
    length: int,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    k_enc: jax.Array | None,
    v_enc: jax.Array | None,
    prefix_len: jax.Array | None,
    kv_t: jax.Array | None,
    gram: jax.Array | None,
    documents: documents_lib.Documents | None = None,
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
  """`mosaic_sm90_derivatives.attend`, with the sequence split into `segments`.

  The lengths of tokens and prefix are multiples of 128 times `segments`.
  """
  if segments == 1:
    return derivatives.attend(
        launch, length, q, k, v, k_enc, v_enc, prefix_len, kv_t, gram, documents
    )

  states = functools.partial(sums, launch, segments)
  fold = functools.partial(_fold, segments=segments)

  def totals(x):  # cumulative sums of the initial state and the segments
    if documents is None:
      return jnp.cumsum(x, axis=1)
    reaches = documents_lib.reaches(documents, segments)
    return jnp.einsum('bst,bt...->bs...', reaches, x, precision='highest')

  end = end_enc = of_segments = None
  if documents is not None:
    end = documents_lib.entering_segment(documents, segments)
    end_enc = documents.end_enc
    of_segments = documents_lib.Documents(*map(fold, documents[:2]), None)
  (B, _, H, _), V = q.shape, v.shape[-1]
  if kv_t is None:
    kv_t, gram = roll_features.zero_packed_state(B, H, V)
  start = kv_t, gram
  if k_enc is not None:
    read = states(k_enc, v_enc, prefix_len, end_enc)
    start = [x + y.sum(1) for x, y in zip(start, read)]
  # The state before the first segment, and the state after each segment.
  at_ends = [
      totals(jnp.concatenate([x[:, None], y], axis=1))
      for x, y in zip(
          start, states(k, v, jnp.full(len(q), length, 'int32'), end)
      )
  ]
  begin = [x[:, :-1].reshape(-1, *x.shape[2:]) for x in at_ends]
  y, _, _ = derivatives.attend(
      launch._replace(return_state=False),
      q.shape[1] // segments,
      *(fold(x) for x in (q, k, v)),
      *(None, None, None),
      *begin,
      of_segments,
  )
  last = [x[:, -1] if launch.return_state else None for x in at_ends]
  return y.reshape(v.shape), *last


def sums(
    launch: derivatives.Launch,
    segments: int,
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    end: jax.Array | None = None,
) -> list[jax.Array]:
  """`derivatives.final_state` of each segment, [B, segments, H, ...]."""
  size = k.shape[1] // segments
  starts = size * jnp.arange(segments)
  lengths = jnp.clip(lengths[:, None] - starts, 0, size)
  k, v, end = (None if x is None else _fold(x, segments) for x in (k, v, end))
  read = derivatives.final_state(launch, k, v, lengths.reshape(-1), end)
  return [x.reshape(-1, segments, *x.shape[1:]) for x in read]


def _fold(x, segments):
  """[B, L, ...] to [B · segments, L / segments, ...]."""
  return x.reshape(-1, x.shape[1] // segments, *x.shape[2:])
