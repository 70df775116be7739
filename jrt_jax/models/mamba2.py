"""The mixer of Mamba-2: a state-space model with one decay a head."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.models.decay import Decay
from jrt_jax.models.layers import Build
from jrt_jax.models.prefix_recurrence import PrefixRecurrence
from jrt_jax.models.recurrence import Operands
from jrt_jax.models.recurrence import Recurrence
from jrt_jax.models.rms_norm import rms_normalized
from jrt_jax.models.short_conv import HeadsConv


class State(NamedTuple):
  """What decoding keeps."""

  x: jax.Array  # [B, H · V, K - 1], of the convolution of the values
  bc: jax.Array  # [B, 2 G N, K - 1], likewise of keys and queries
  memory: jax.Array  # float32 [B, H, N, V]


class Mamba2(Recurrence):
  """Values into a decaying state, between a convolution and a gated norm.

  In the words of attention its B are keys, C queries, and Δ·x values; all heads
  of a group share keys and queries. Each head adds its values to its outputs,
  times a weight D of its own.

  Args:
    build: what the layers are made with.
    num_heads: H.
    head_dim: V, of values.
    state_dim: N, of keys and queries.
    num_groups: G, which share keys and queries.
    conv_kernel: K, taps of the convolutions.

  Source: Dao and Gu 2024, https://arxiv.org/abs/2405.21060.
  """

  State = State

  def __init__(
      self,
      build: Build,
      *,
      num_heads: int,
      head_dim: int,
      state_dim: int,
      num_groups: int,
      conv_kernel: int,
  ):
    inner, shared = num_heads * head_dim, 2 * num_groups * state_dim
    self.proj_gate = build.linear(build.width, inner)
    self.proj_x = build.linear(build.width, inner)
    self.proj_bc = build.linear(build.width, shared)
    self.proj_dt = build.linear(build.width, num_heads)
    self.conv_x = HeadsConv(build, inner, kernel=conv_kernel, bias=True)
    self.conv_bc = HeadsConv(build, shared, kernel=conv_kernel, bias=True)
    self.decay = Decay(build, num_heads)
    self.skip = nnx.Param(jnp.ones(num_heads))  # D
    self.gain = nnx.Param(jnp.ones(inner))
    self.out_proj = build.linear_out(inner)
    self.num_heads = num_heads
    self.num_groups = num_groups
    self.norm_eps = build.norm_eps

  def _inputs(self, x):
    return (self.conv_x, self.proj_x(x)), (self.conv_bc, self.proj_bc(x))

  def _operands(self, x, u, bc):
    """C, B, Δx and log a, of convolved arrays [..., H · V] and [..., 2 G N]."""
    b, c = jnp.split(bc, 2, axis=-1)
    return Operands(
        self._groups(c), *self._writes(u, b, *self.decay(self.proj_dt(x)))
    )

  def _writes(self, u, b, log_decay, step):
    """Operands but queries: B, Δx and log a."""
    values = (self._heads(u) * step[..., None]).astype(u.dtype)
    return self._groups(b), values, log_decay

  def _out(self, x, y, u, bc):
    """The skipped values and the gated norm of each group, to [..., E]."""
    del bc
    y = y.astype(jnp.float32) + self.skip[...][:, None] * self._heads(u)
    groups = *x.shape[:-1], self.num_groups, -1
    y = y.reshape(groups)
    y *= jax.nn.silu(self.proj_gate(x).astype(jnp.float32)).reshape(groups)
    gain = self.gain[...].reshape(self.num_groups, -1)
    y = rms_normalized(y, gain, self.norm_eps).astype(x.dtype)
    return self.out_proj(y.reshape(*x.shape[:-1], -1))

  def _groups(self, x):
    return x.reshape(*x.shape[:-1], self.num_groups, -1)

  def _heads(self, u):
    return u.reshape(*u.shape[:-1], self.num_heads, -1)


class PrefixMamba2(PrefixRecurrence, Mamba2):
  """`Mamba2` that has read the whole prefix before the first token.

  Args:
    build: what the layers are made with.
    sizes: the other arguments of `Mamba2`.
  """

  def __init__(self, build: Build, **sizes: int):
    super().__init__(build, **sizes)
    inner, keys = self.proj_x.out_features, self.proj_bc.out_features // 2
    kernel = sizes['conv_kernel']
    self.proj_x_enc = build.linear(build.width, inner)
    self.proj_b_enc = build.linear(build.width, keys)
    self.proj_dt_enc = build.linear(build.width, self.num_heads)
    self.conv_x_enc = HeadsConv(build, inner, kernel=kernel, bias=True)
    self.conv_b_enc = HeadsConv(build, keys, kernel=kernel, bias=True)
    self.decay_enc = Decay(build, self.num_heads)

  def _prefix_inputs(self, x):
    return (
        (self.conv_x_enc, self.proj_x_enc(x)),
        (self.conv_b_enc, self.proj_b_enc(x)),
    )

  def _prefix_operands(self, x, u, b):
    return self._writes(u, b, *self.decay_enc(self.proj_dt_enc(x)))


def mamba2(build: Build, config: Mapping[str, Any]) -> Mamba2:
  """The mixer `mamba2` of `config.model`."""
  return Mamba2(build, **config['mamba2'])


def prefix_mamba2(build: Build, config: Mapping[str, Any]) -> PrefixMamba2:
  """The mixer `prefix_mamba2` of `config.model`."""
  return PrefixMamba2(build, **config['mamba2'])
