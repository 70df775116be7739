"""What every implementation of the gated delta rule receives."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Inputs(NamedTuple):
  """Arguments of the public operation, checked and complete.

  Padding neither decays the state nor writes to it: its `log_decay` is 0, and
  its `beta`, or its `v` where there is no beta, is 0 as well.
  """

  q: jax.Array | None  # [B, L, G, D]; None: outputs are not computed
  k: jax.Array  # [B, L, G, D]
  v: jax.Array  # [B, L, H, V], H a multiple of G
  log_decay: jax.Array  # float32 [B, L, H]
  beta: jax.Array | None  # float32 [B, L, H]; None: nothing is erased
  segment: jax.Array  # int32 [B, L], from 0, one more at each boundary
  state: jax.Array  # float32 [B, H, D, V], before the first token


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
