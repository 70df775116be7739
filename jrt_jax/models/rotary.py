"""Rotary position embeddings."""

import jax
import jax.numpy as jnp


def rotary(x: jax.Array, positions: jax.Array, *, base: float) -> jax.Array:
  """Rotates pairs (i, i + D/2) of x [..., H, D] by angles of positions [...].

  Angles are float32, the result is in the dtype of x.

  Source: Su et al. 2021, https://arxiv.org/abs/2104.09864.
  """
  half = x.shape[-1] // 2
  frequency = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
  angle = positions[..., None, None] * frequency
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  rotated = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
  return rotated.astype(x.dtype)
