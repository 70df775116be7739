"""What every implementation of the gated delta rule receives."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Inputs(NamedTuple):
  """Arguments of the public operation, checked and complete.

  Padding neither decays the state nor writes to it: its `log_decay` is 0, and
  its `beta`, or its `v` where there is no beta, is 0 as well.

  Segments are ids that change at each boundary, or None, before `numbered`; and
  numbers, from 0 and one more at each boundary, in the inputs of an
  implementation.
  """

  q: jax.Array | None  # [B, L, G, D]; None: outputs are not computed
  k: jax.Array  # [B, L, G, D]
  v: jax.Array  # [B, L, H, V], H a multiple of G
  log_decay: jax.Array  # float32 [B, L, H]
  beta: jax.Array | None  # float32 [B, L, H]; None: nothing is erased
  segment: jax.Array | None  # int32 [B, L]; None: one segment
  state: jax.Array  # float32 [B, H, D, V], before the first token


def numbered(inputs: Inputs) -> Inputs:
  """Numbers the segments; the first token of one has nothing that decays."""
  ids = inputs.segment
  if ids is None:
    return inputs._replace(segment=jnp.zeros(inputs.v.shape[:2], jnp.int32))
  starts = jnp.pad(ids[:, 1:] != ids[:, :-1], ((0, 0), (1, 0)))
  return inputs._replace(
      segment=jnp.cumsum(starts, axis=1, dtype=jnp.int32),
      log_decay=jnp.where(starts[..., None], 0, inputs.log_decay),
  )


def without_padding(
    v: jax.Array,
    log_decay: jax.Array,
    beta: jax.Array | None,
    mask: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
  """Returns the three, such that positions outside of `mask` change nothing."""
  if mask is None:
    return v, log_decay, beta
  token = mask[..., None]
  log_decay = jnp.where(token, log_decay, 0)
  if beta is None:
    return jnp.where(token[..., None], v, 0), log_decay, None
  return v, log_decay, jnp.where(token, beta, 0)
