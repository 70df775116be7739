"""What every implementation of prefix linear attention receives."""
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention.feature_maps import FEATURE_MAPS


class State(NamedTuple):
  """All that linear attention remembers, always float32."""

  kv: jax.Array  # [B, H, F, V], the sum of φ(k) vᵀ
  k: jax.Array  # [B, H, F], the sum of φ(k)


def zero_state(B: int, H: int, D: int, V: int, feature_map: str) -> State:
  """The state before the first token."""
  F = FEATURE_MAPS[feature_map].width(D)
  return State(
      jnp.zeros((B, H, F, V), jnp.float32), jnp.zeros((B, H, F), jnp.float32)
  )


class Inputs(NamedTuple):
  """Arguments of the public operation, checked and none of them missing."""

  q: jax.Array  # [B, L, H, D]
  k: jax.Array  # [B, L, H, D]
  v: jax.Array  # [B, L, H, V]
  k_enc: jax.Array  # [B, P, H, D]
  v_enc: jax.Array  # [B, P, H, V]
  prefix_mask: jax.Array  # bool [B, P], which positions are prefix
  segment: jax.Array  # int32 [B, L], from 0, one more at each boundary
  mask: jax.Array  # bool [B, L], which positions are tokens
  state: State  # before the first token


def normalize(num: jax.Array, den: jax.Array, normalizer: str) -> jax.Array:
  """Divides [..., V] by the [...] that `normalizer` makes of `den`."""
  return num / divisor(den, normalizer)[..., None]


def divisor(den: jax.Array, normalizer: str) -> jax.Array:
  """What outputs are divided by, given the sum of the weights."""
  if normalizer == 'sum':  # nothing seen: 0 / 1
    return jnp.where(den == 0, 1, den)
  if normalizer == 'clamp':  # sign-safe, as in mLSTM
    return jnp.where(den < 0, -1, 1) * jnp.maximum(jnp.abs(den), 1)
  return jnp.ones_like(den)


NORMALIZERS = ('sum', 'clamp', 'none')
