"""How much of a state remains after a token: the decay of recurrences."""

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.models.layers import Build

_SHORTEST, _LONGEST = 1e-3, 0.1  # steps Δ of the first training step


class Decay(nnx.Module):
  """log a = -exp(A_log) softplus(x + dt_bias), a number for each of H heads.

  Δ = softplus(x + dt_bias) is the step of a state-space model, and starts
  between 0.001 and 0.1, evenly by its logarithm; exp(A_log) starts between 1
  and 16. Both parameters are float32, and all that is made of them.

  Source: Dao and Gu 2024 (Mamba-2), https://arxiv.org/abs/2405.21060.
  """

  def __init__(self, build: Build, num_heads: int):
    keys = build.rngs.params(), build.rngs.params()
    rate = jax.random.uniform(keys[0], num_heads, minval=1, maxval=16)
    step = jnp.exp(
        jax.random.uniform(
            keys[1],
            num_heads,
            minval=jnp.log(_SHORTEST),
            maxval=jnp.log(_LONGEST),
        )
    )
    self.A_log = nnx.Param(jnp.log(rate))
    self.dt_bias = nnx.Param(step + jnp.log(-jnp.expm1(-step)))

  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maps [..., H] to log a and Δ, float32 [..., H] both."""
    x = x.astype(jnp.float32)
    step = jax.nn.softplus(x + self.dt_bias[...])
    return -jnp.exp(self.A_log[...]) * step, step
