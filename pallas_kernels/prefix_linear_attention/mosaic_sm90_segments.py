"""Long sequences in segments, where rows and heads do not fill the GPU.

The states of all segments are summed up first, side by side. Added up in
order, they are what each segment begins with; then all of them are computed
side by side too, as rows of a larger batch. That reads keys and values twice.
"""

import jax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import mosaic_sm90_derivatives as derivatives


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
    kv_t: jax.Array,
    gram: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """`mosaic_sm90_derivatives.attend`, in so many segments.

  Lengths of tokens and of the prefix are multiples of 128 times `segments`.
  """
  if segments == 1:
    return derivatives.attend(
        launch, length, q, k, v, k_enc, v_enc, prefix_len, kv_t, gram
    )

  def states(k, v, length):  # [B, segments, H, ...] each
    size = k.shape[1] // segments
    starts = size * jnp.arange(segments)
    lengths = jnp.clip(length[:, None] - starts, 0, size)
    sums = derivatives.final_state(
        launch, fold(k), fold(v), lengths.reshape(-1)
    )
    return [unfold(x) for x in sums]

  def fold(x):
    return x.reshape(-1, x.shape[1] // segments, *x.shape[2:])

  def unfold(x):
    return x.reshape(-1, segments, *x.shape[1:])

  start = kv_t, gram
  if k_enc is not None:
    read = states(k_enc, v_enc, prefix_len)
    start = [x + y.sum(1) for x, y in zip(start, read)]
  # The one before the first segment, and the one after each.
  at_ends = [
      jnp.cumsum(jnp.concatenate([x[:, None], y], axis=1), axis=1)
      for x, y in zip(start, states(k, v, jnp.full(len(q), length, 'int32')))
  ]
  begin = [x[:, :-1].reshape(-1, *x.shape[2:]) for x in at_ends]
  y, _, _ = derivatives.attend(
      launch,
      q.shape[1] // segments,
      *(fold(x) for x in (q, k, v)),
      *(None, None, None),
      *begin,
  )
  return y.reshape(v.shape), *(x[:, -1] for x in at_ends)
