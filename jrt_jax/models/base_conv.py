"""BaseConv: a gated short convolution."""

from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax
from jax.nn import initializers
import jax.numpy as jnp

from jrt_jax.models.context import Context
from jrt_jax.models.layers import Build


class BaseConv(nnx.Module):
  """SiLU(causal depthwise convolution of u) ⊙ gate, between two projections.

  The decode state is u of the last K - 1 tokens, [B, K - 1, I], with the inner
  width I = expand · E / 2; it is zero where there was no token.

  Source: Arora et al. 2024 (Based), https://arxiv.org/abs/2402.18668.
  """

  def __init__(self, build: Build, *, kernel: int, expand: int):
    inner = expand * build.width // 2
    self.in_proj = build.projections(build.width, 2, inner, bias=True)
    # Each channel has its own K taps; the last one multiplies the token itself.
    limit = kernel**-0.5
    init = initializers.uniform(2 * limit)
    self.conv = _Taps(init(build.rngs.params(), (kernel, inner)) - limit)
    self.out_proj = build.linear_out(inner, bias=True)

  def __call__(
      self, x: jax.Array, context: Context, *, state=None, return_state=False
  ):
    """Maps [B, L, E] to [B, L, E], and with `return_state` the state.

    Starts from `state`, the state after earlier tokens, if given.
    """
    u, gate = self.in_proj(x, apart=True)
    taps = self.conv.kernel[...].astype(u.dtype)
    K = len(taps)
    if state is None:
      shifted = [_shifted_within(u, shift, context) for shift in range(K)]
    else:  # earlier tokens are in the state
      longer = jnp.concatenate([state, u], axis=1)
      shifted = [longer[:, K - 1 - s :][:, : u.shape[1]] for s in range(K)]
    convolved = sum(taps[K - 1 - s] * shifted[s] for s in range(K))
    y = self.out_proj(jax.nn.silu(convolved) * gate)
    if not return_state:
      return y
    tail = [context.at_last(u) for u in reversed(shifted[: K - 1])]
    return y, jnp.stack(tail, axis=1)

  def step(self, x: jax.Array, tail: jax.Array):
    """Maps one token [B, E] and the state to [B, E] and the next state."""
    u, gate = self.in_proj(x)
    recent = jnp.concatenate([tail, u[:, None]], axis=1)
    taps = self.conv.kernel[...].astype(u.dtype)
    convolved = jnp.einsum('bki,ki->bi', recent, taps)
    return self.out_proj(jax.nn.silu(convolved) * gate), recent[:, 1:]


def conv(build: Build, config: Mapping[str, Any]) -> BaseConv:
  """The mixer `conv` of `config.model`."""
  return BaseConv(
      build, kernel=config['conv_kernel'], expand=config['conv_expand']
  )


class _Taps(nnx.Module):

  def __init__(self, kernel):
    self.kernel = nnx.Param(kernel)  # [K, I]


def _shifted_within(u, shift, context):
  """Returns u_{i - shift} if it is a token of the document of i, else 0."""
  u = jnp.pad(u, ((0, 0), (shift, 0), (0, 0)))[:, : u.shape[1]]
  same = context.same_document(shift)
  return u if same is None else jnp.where(same[..., None], u, 0)
