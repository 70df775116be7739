"""Linear attention, and prefix linear attention, as mixers."""

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.models import parallel
from jrt_jax.models.context import Context
from jrt_jax.models.layers import Build
import pallas_kernels


class PrefixLinearAttention(nnx.Module):
  """Linear attention whose state reads the prefix before the first token.

  The prefix has keys and values of its own, so that the encoder half and the
  causal half can store different facts; queries are shared. With
  `reads_prefix=False` this is the causal linear attention of Based. The decode
  state is a `pallas_kernels.State`.

  Source: Arora et al. 2024 (JRT-RNN), https://arxiv.org/abs/2407.05483.
  """

  def __init__(
      self,
      build: Build,
      *,
      num_heads: int,
      feature_map: str,
      feature_dim: int,
      normalizer: str,
      implementation: str,
      reads_prefix: bool,
  ):
    E = build.width
    if E % num_heads:
      raise ValueError(
          f'config.model.width must be a multiple of {num_heads=}, got {E}'
      )
    self.proj_q = build.linear(E, num_heads * feature_dim)
    self.proj_k = build.linear(E, num_heads * feature_dim)
    self.proj_v = build.linear(E, E)
    if reads_prefix:
      self.proj_k_enc = build.linear(E, num_heads * feature_dim)
      self.proj_v_enc = build.linear(E, E)
    self.out_proj = build.linear_out(E)
    self.num_heads = num_heads
    self.reads_prefix = reads_prefix
    self.feature_map = feature_map
    self.normalizer = normalizer
    self.implementation = None if implementation == 'auto' else implementation

  def __call__(
      self, x: jax.Array, context: Context, *, state=None, return_state=False
  ):
    """Maps [B, L, E] to [B, L, E]; row b sees all of x[b, :prefix_len[b]].

    Starts from `state`, if given: what was read before, prefixes included.
    With `return_state` returns the state after the last token, too.
    """
    P = context.prefix_capacity if self.reads_prefix else 0
    k, k_enc = self._heads(self.proj_k(x)), None
    v_enc, prefix_len = None, None
    if P:
      k_enc = self._heads(self.proj_k_enc(x[:, :P]))
      v_enc = self._heads(self.proj_v_enc(x[:, :P]))
      prefix_len = context.prefix_len
    if self.reads_prefix and context.unzeroed is not None:
      keep = context.unzeroed[..., None, None]
      k = jnp.where(keep, k, 0)
      k_enc = jnp.where(keep[:, :P], k_enc, 0) if P else None
    y, state = pallas_kernels.prefix_linear_attention(
        self._heads(self.proj_q(x)),
        k,
        self._heads(self.proj_v(x)),
        k_enc,
        v_enc,
        prefix_len,
        initial_state=state,
        return_state=True,
        feature_map=self.feature_map,
        normalizer=self.normalizer,
        segment_ids=context.segment_ids,
        mask=context.mask,
        batch_axes=parallel.BATCH_AXES,
        head_axes=parallel.HEAD_AXES,
        implementation=self.implementation,
    )
    y = self.out_proj(y.reshape(x.shape))
    return (y, state) if return_state else y

  def read_prefix(
      self, x: jax.Array, context: Context, state: pallas_kernels.State
  ) -> pallas_kernels.State:
    """Adds the tokens x [B, L, E] to the prefix that `state` has read."""
    k = self._heads(self.proj_k_enc(x))
    # A causal pass over keys of the prefix ends in their sum.
    _, state = pallas_kernels.prefix_linear_attention(
        k,
        k,
        self._heads(self.proj_v_enc(x)),
        initial_state=state,
        return_state=True,
        feature_map=self.feature_map,
        normalizer=self.normalizer,
        mask=context.mask,
        batch_axes=parallel.BATCH_AXES,
        head_axes=parallel.HEAD_AXES,
        implementation=self.implementation,
    )
    return state

  def step(self, x: jax.Array, state: pallas_kernels.State):
    """Maps one token [B, E] and the state to [B, E] and the next state."""
    y, state = pallas_kernels.prefix_linear_attention_step(
        self._heads(self.proj_q(x)),
        self._heads(self.proj_k(x)),
        self._heads(self.proj_v(x)),
        state,
        feature_map=self.feature_map,
        normalizer=self.normalizer,
    )
    return self.out_proj(y.reshape(x.shape)), state

  def _heads(self, x):
    return x.reshape(*x.shape[:-1], self.num_heads, -1)
