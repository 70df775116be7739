"""Mixers of linear attention and prefix linear attention."""

from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.cost.kernels import KERNELS_OR_CHUNKED
from jrt_jax.cost.mixers import head_width
from jrt_jax.models import documents_in_prefix
from jrt_jax.models import feature_maps
from jrt_jax.models.context import Context
from jrt_jax.models.head_group import HeadGroup
from jrt_jax.models.layers import Build
from jrt_jax.models.linear_attention_state import joined
from jrt_jax.models.linear_attention_state import LinearAttentionState

# Values of `config.model.implementation` that are not a single implementation.
IMPLEMENTATIONS = {
    'auto': None,
    KERNELS_OR_CHUNKED: ('mosaic_sm90', 'chunked'),
}


class PrefixLinearAttention(LinearAttentionState):
  """Linear attention whose state reads the prefix before the first token.

  The prefix has its own key and value projections, so that the encoder half and
  the causal half can store different facts; queries are shared. The state
  starts from what `prefix_reader` makes of the prefix. With
  `reads_prefix=False` this is the linear attention of Based.

  Args:
    build: makes the layers.
    config: `config.model`.
    reads_prefix: whether there is a prefix.

  Raises:
    ValueError: a value of the config is impossible.

  Source: Arora et al. 2024 (JRT-RNN), https://arxiv.org/abs/2407.05483.
  """

  def __init__(
      self,
      build: Build,
      config: Mapping[str, Any],
      *,
      reads_prefix: bool,
  ):
    E, num_heads = build.width, config['num_heads']
    D, V = config['feature_map']['feature_dim'], head_width(E, num_heads)
    implementation, own = config['implementation'], config['pla']
    self.proj_q = build.linear(E, num_heads * D)
    self.proj_k = build.linear(E, num_heads * D)
    self.proj_v = build.linear(E, E)
    if reads_prefix:
      self.proj_k_enc = build.linear(E, num_heads * D)
      self.proj_v_enc = build.linear(E, E, zero=own['first_values'] == 'zero')
    self.out_proj = build.linear_out(E)
    self.num_heads = num_heads
    self.reads_prefix = reads_prefix
    self.groups = nnx.List(
        HeadGroup(
            *maps,
            normalizer=config['normalizer'],
            value_dim=V,
            implementation=IMPLEMENTATIONS.get(implementation, implementation),
            prefix_reader=own['prefix_reader'] if reads_prefix else 'sum',
            causal_in_prefix=own['causal_in_prefix'] or not reads_prefix,
        )
        for maps in feature_maps.build_pairs(
            config['feature_map'],
            num_heads=num_heads,
            reads_prefix=reads_prefix,
            rngs=build.rngs,
        )
    )

  def __call__(
      self, x: jax.Array, context: Context, *, state=None, return_state=False
  ):
    """Maps [B, L, E] to [B, L, E]; row b sees all of x[b, :prefix_len[b]].

    Starts from `state`, the state after earlier tokens and prefixes, if given.
    With `return_state` also returns the state after the last token.
    """
    P = context.prefix_capacity if self.reads_prefix else 0
    k, k_enc, v_enc = self.heads(self.proj_k(x)), None, None
    if P:
      k_enc = self.heads(self.proj_k_enc(x[:, :P]))
      v_enc = self.heads(self.proj_v_enc(x[:, :P]))
    if self.reads_prefix and context.unzeroed is not None:
      keep = context.unzeroed[..., None, None]
      k = jnp.where(keep, k, 0)
      k_enc = jnp.where(keep[:, :P], k_enc, 0) if P else None
    q, v = self.heads(self.proj_q(x)), self.heads(self.proj_v(x))
    apart = P and context.documents_in_prefix
    attend = documents_in_prefix.attend if apart else HeadGroup.attend
    results = [
        attend(
            group,
            *heads,
            context=context,
            state=before,
            return_state=return_state,
        )
        for group, before, *heads in self.by_group(state, q, k, v, k_enc, v_enc)
    ]
    y, state = joined(results)
    y = self.out_proj(y.reshape(x.shape))
    return (y, state) if return_state else y


def pla(build: Build, config: Mapping[str, Any]) -> PrefixLinearAttention:
  """The mixer `pla` of `config.model`."""
  return PrefixLinearAttention(build, config, reads_prefix=True)


def la(build: Build, config: Mapping[str, Any]) -> PrefixLinearAttention:
  """The mixer `la` of `config.model`."""
  return PrefixLinearAttention(build, config, reads_prefix=False)
