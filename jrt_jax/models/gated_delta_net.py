"""The mixer of Gated DeltaNet: a state that overwrites what a key held."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.models.decay import Decay
from jrt_jax.models.layers import Build
from jrt_jax.models.prefix_recurrence import PASSES
from jrt_jax.models.prefix_recurrence import PrefixRecurrence
from jrt_jax.models.recurrence import Operands
from jrt_jax.models.recurrence import Recurrence
from jrt_jax.models.rms_norm import rms_normalized
from jrt_jax.models.short_conv import HeadsConv

_NORM_EPS = 1e-6  # of the L2 norm of queries and keys


class State(NamedTuple):
  """What decoding keeps."""

  q: jax.Array  # [B, H · D, K - 1], of the convolution of the queries
  k: jax.Array  # [B, H · D, K - 1]
  v: jax.Array  # [B, H · V, K - 1]
  memory: jax.Array  # float32 [B, H, D, V]


class GatedDeltaNet(Recurrence):
  """The gated delta rule between convolved projections and a gated norm.

  Queries, keys and values pass a short convolution and SiLU; queries and keys
  are then divided by their norms. How much a token overwrites, β, and how much
  of the state remains, depend on the token.

  Args:
    build: what the layers are made with.
    num_heads: H.
    key_dim: D, of a head.
    value_dim: V, of a head.
    conv_kernel: K, taps of the convolutions.

  Source: Yang et al. 2024, https://arxiv.org/abs/2412.06464.
  """

  State = State

  def __init__(
      self,
      build: Build,
      *,
      num_heads: int,
      key_dim: int,
      value_dim: int,
      conv_kernel: int,
  ):
    keys, values = num_heads * key_dim, num_heads * value_dim
    self.proj_q = build.linear(build.width, keys)
    self.proj_k = build.linear(build.width, keys)
    self.proj_v = build.linear(build.width, values)
    self.proj_gate = build.linear(build.width, values)
    self.proj_beta = build.linear(build.width, num_heads)
    self.proj_decay = build.linear(build.width, num_heads)
    self.conv_q = HeadsConv(build, keys, kernel=conv_kernel)
    self.conv_k = HeadsConv(build, keys, kernel=conv_kernel)
    self.conv_v = HeadsConv(build, values, kernel=conv_kernel)
    self.decay = Decay(build, num_heads)
    self.gain = nnx.Param(jnp.ones(value_dim))
    self.out_proj = build.linear_out(values)
    self.num_heads = num_heads
    self.norm_eps = build.norm_eps

  def _inputs(self, x):
    return (
        (self.conv_q, self.proj_q(x)),
        (self.conv_k, self.proj_k(x)),
        (self.conv_v, self.proj_v(x)),
    )

  def _operands(self, x, q, k, v):
    """Of convolved arrays [..., H · D] and [..., H · V]."""
    q = self._heads(q)
    scale = q.shape[-1] ** -0.5
    log_decay, _ = self.decay(self.proj_decay(x))
    writes = self._writes(k, v, log_decay, self.proj_beta(x))
    return Operands(_unit(q) * scale, *writes)

  def _writes(self, k, v, log_decay, beta):
    """Operands but queries, of convolved keys and values and of logits of β."""
    beta = jax.nn.sigmoid(beta.astype(jnp.float32))
    return _unit(self._heads(k)), self._heads(v), log_decay, beta

  def _out(self, x, y, *convolved):
    """RMSNorm of each head's outputs [..., H, V], gated, to [..., E]."""
    del convolved
    y = rms_normalized(y, self.gain[...], self.norm_eps)
    gate = self._heads(self.proj_gate(x)).astype(jnp.float32)
    y = (y * jax.nn.silu(gate)).astype(x.dtype)
    return self.out_proj(y.reshape(*x.shape[:-1], -1))

  def _heads(self, x):
    return x.reshape(*x.shape[:-1], self.num_heads, -1)


class PrefixGatedDeltaNet(PrefixRecurrence, GatedDeltaNet):
  """`GatedDeltaNet` that has read the whole prefix before the first token.

  Args:
    build: what the layers are made with.
    prefix_passes: a key of `PASSES`. The delta rule depends on the order of
      tokens: it holds most exactly what it read last.
    sizes: the other arguments of `GatedDeltaNet`.
  """

  def __init__(self, build: Build, *, prefix_passes: str, **sizes: int):
    super().__init__(build, **sizes)
    keys, values = self.proj_k.out_features, self.proj_v.out_features
    kernel = sizes['conv_kernel']
    self.proj_k_enc = build.linear(build.width, keys)
    self.proj_v_enc = build.linear(build.width, values)
    self.proj_beta_enc = build.linear(build.width, self.num_heads)
    self.proj_decay_enc = build.linear(build.width, self.num_heads)
    self.conv_k_enc = HeadsConv(build, keys, kernel=kernel)
    self.conv_v_enc = HeadsConv(build, values, kernel=kernel)
    self.decay_enc = Decay(build, self.num_heads)
    self.passes = PASSES[prefix_passes]

  def _prefix_inputs(self, x):
    return (
        (self.conv_k_enc, self.proj_k_enc(x)),
        (self.conv_v_enc, self.proj_v_enc(x)),
    )

  def _prefix_operands(self, x, k, v):
    log_decay, _ = self.decay_enc(self.proj_decay_enc(x))
    return self._writes(k, v, log_decay, self.proj_beta_enc(x))


def gdn(build: Build, config: Mapping[str, Any]) -> GatedDeltaNet:
  """The mixer `gdn` of `config.model`."""
  own = {k: x for k, x in config['gdn'].items() if k != 'prefix_passes'}
  return GatedDeltaNet(build, **own)


def prefix_gdn(build: Build, config: Mapping[str, Any]) -> PrefixGatedDeltaNet:
  """The mixer `prefix_gdn` of `config.model`."""
  return PrefixGatedDeltaNet(build, **config['gdn'])


def _unit(x):
  """x / ‖x‖ over the last axis, in the dtype of x."""
  wide = x.astype(jnp.float32)
  square = jnp.sum(wide * wide, axis=-1, keepdims=True)
  return (wide * jax.lax.rsqrt(square + _NORM_EPS)).astype(x.dtype)
