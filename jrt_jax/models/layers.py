"""The parts that every block has, and how weights start."""

from collections.abc import Callable
from typing import NamedTuple

from flax import nnx
import jax
from jax.nn import initializers
import jax.numpy as jnp


class Build(NamedTuple):
  """How the layers of one model are made: shared by all of its modules."""

  width: int  # E
  dtype: jnp.dtype  # of activations and products; parameters are float32
  norm_eps: float
  init: Callable  # of weights
  init_out: Callable  # of weights that write to the residual stream
  rngs: nnx.Rngs

  def linear(
      self, inputs: int, outputs: int | tuple[int, ...], *, bias=False
  ) -> nnx.LinearGeneral:
    """Maps [..., inputs] to [..., *outputs].

    Projections that share one matrix are stacked on an axis of their own, so
    that each of them can be sharded.
    """
    return nnx.LinearGeneral(
        inputs,
        outputs,
        use_bias=bias,
        dtype=self.dtype,
        kernel_init=self.init,
        rngs=self.rngs,
    )

  def linear_out(self, inputs: int, *, bias=False) -> nnx.Linear:
    """A projection back to the residual stream."""
    return nnx.Linear(
        inputs,
        self.width,
        use_bias=bias,
        dtype=self.dtype,
        kernel_init=self.init_out,
        rngs=self.rngs,
    )

  def norm(self) -> nnx.RMSNorm:
    return nnx.RMSNorm(
        self.width,
        epsilon=self.norm_eps,
        dtype=self.dtype,
        promote_dtype=_keep_dtypes,
        rngs=self.rngs,
    )


def make_build(*, width, num_layers, dtype, norm_eps, init_std, rngs) -> Build:
  """Weights start as in GPT-2: residual outputs smaller by sqrt(2 layers)."""
  out_std = init_std / (2 * num_layers) ** 0.5
  return Build(
      width,
      jnp.dtype(dtype),
      norm_eps,
      initializers.normal(init_std),
      initializers.normal(out_std),
      rngs,
  )


def _keep_dtypes(arrays, *, dtype):
  """Flax rounds the residual stream and the scale before it normalises."""
  del dtype  # of the result
  return arrays


class SwiGLU(nnx.Module):
  """(x W_value ⊙ SiLU(x W_gate)) W_out; both input weights are one matrix."""

  def __init__(self, build: Build, *, mlp_width: int):
    self.fc1 = build.linear(build.width, (2, mlp_width))
    self.fc2 = build.linear_out(mlp_width)

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., E] to [..., E]."""
    both = self.fc1(x)  # sliced: XLA would transpose them for moveaxis
    value, gate = both[..., 0, :], both[..., 1, :]
    return self.fc2(value * jax.nn.silu(gate))
