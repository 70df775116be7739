"""BaseConv: a gated short convolution."""

from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax

from jrt_jax.models.context import Context
from jrt_jax.models.layers import Build
from jrt_jax.models.short_conv import ShortConv


class BaseConv(nnx.Module):
  """SiLU(causal depthwise convolution of u) ⊙ gate, between two projections.

  The inner width is I = expand · E / 2. The decode state is that of the
  convolution, [B, K - 1, I].

  Source: Arora et al. 2024 (Based), https://arxiv.org/abs/2402.18668.
  """

  def __init__(self, build: Build, *, kernel: int, expand: int):
    inner = expand * build.width // 2
    self.in_proj = build.projections(build.width, 2, inner, bias=True)
    self.conv = ShortConv(build, inner, kernel=kernel)
    self.out_proj = build.linear_out(inner, bias=True)

  def __call__(
      self, x: jax.Array, context: Context, *, state=None, return_state=False
  ):
    """Maps [B, L, E] to [B, L, E], and with `return_state` the state.

    Starts from `state`, the state after earlier tokens, if given.
    """
    u, gate = self.in_proj(x, apart=True)
    results = self.conv(u, context, state=state, return_state=return_state)
    convolved, tail = results if return_state else (results, None)
    y = self.out_proj(jax.nn.silu(convolved) * gate)
    return (y, tail) if return_state else y

  def step(self, x: jax.Array, tail: jax.Array):
    """Maps one token [B, E] and the state to [B, E] and the next state."""
    u, gate = self.in_proj(x)
    convolved, tail = self.conv.step(u, tail)
    return self.out_proj(jax.nn.silu(convolved) * gate), tail


def conv(build: Build, config: Mapping[str, Any]) -> BaseConv:
  """The mixer `conv` of `config.model`."""
  return BaseConv(
      build, kernel=config['conv_kernel'], expand=config['conv_expand']
  )
