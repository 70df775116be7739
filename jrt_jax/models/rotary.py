"""Rotary position embeddings."""

import jax
import jax.numpy as jnp


def rotary(
    x: jax.Array, positions: jax.Array, *, base: float, fraction: float = 1.0
) -> jax.Array:
  """Rotates pairs (i, i + N) of x [..., H, D] by angles of positions [...].

  The first R = ⌊fraction · D⌋ features make N = ⌈R/2⌉ pairs, whose angles are
  position · base^(-2i/R). If R is odd, the last pair also takes the next
  feature. The other features are unchanged. Angles are float32; the result has
  the dtype of x.

  Source: Su et al. 2021, https://arxiv.org/abs/2104.09864. Fractions are from
  GPT-J and GPT-NeoX, odd R from the released 1.3B attention model.
  """
  rotated = int(fraction * x.shape[-1])
  pairs = -(-rotated // 2)
  index = jnp.arange(pairs, dtype=jnp.float32)
  angle = positions[..., None, None] * base ** (-2 * index / rotated)
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  a, b, rest = jnp.split(x.astype(jnp.float32), [pairs, 2 * pairs], axis=-1)
  parts = [a * cos - b * sin, b * cos + a * sin, rest]
  return jnp.concatenate(parts, axis=-1).astype(x.dtype)
