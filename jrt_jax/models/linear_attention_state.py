"""The state of linear attention: what prefill and decoding do with it."""

from collections.abc import Sequence
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.models.head_group import Sums
import pallas_kernels

# The state of one group of heads, or a tuple of states of several.
State = pallas_kernels.State | tuple[pallas_kernels.State, ...]


class LinearAttentionState(nnx.Module):
  """A mixer of linear attention that reads prompts and decodes.

  The attributes are those of `PrefixLinearAttention`.
  """

  proj_q: Any
  proj_k: Any
  proj_v: Any
  proj_k_enc: Any
  proj_v_enc: Any
  out_proj: Any
  groups: Any
  num_heads: int

  @property
  def prefix_is_sum(self) -> bool:
    """See `PrefixMixer`; a reader needs the sums of the whole prefix.

    Without causal keys in the prefix, tokens that join it would lose theirs.
    """
    return all(group.prefix_is_sum for group in self.groups)

  def read_prefix(
      self,
      x: jax.Array,
      mask: jax.Array,
      state: State,
      sequence_axes: Sequence[str] = (),
  ) -> State:
    """Adds N blocks of tokens [N, B, C, E] to the prefix in `state`."""
    return self.with_prefix(state, self.prefix_sums(x, mask, sequence_axes))

  def prefix_sums(
      self, x: jax.Array, mask: jax.Array, sequence_axes: Sequence[str] = ()
  ) -> tuple[Sums, ...]:
    """Sums over N blocks of a prefix, [N, B, C, E], for each group of heads.

    The sums of several documents can be added. `sequence_axes` are the mesh
    axes that divide the C positions.
    """

    def sums(x, mask):
      k = self.heads(self.proj_k_enc(x))
      v = self.heads(self.proj_v_enc(x))
      groups = self.by_group(None, k, v)
      return tuple(
          group.prefix_sums(k, v, mask, sequence_axes)
          for group, _, k, v in groups
      )

    def add(before, block):
      return jax.tree.map(jnp.add, before, sums(*block)), None

    shapes = jax.eval_shape(sums, x[0], mask[0])
    empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(add, empty, (x, mask))[0]

  def with_prefix(self, state: State, sums: tuple[Sums, ...]) -> State:
    """Returns the state after `state`, and after a prefix with these sums."""
    groups = zip(self.by_group(state), sums, strict=True)
    return _one_or_all([g.with_prefix(before, s) for (g, before), s in groups])

  def step(self, x: jax.Array, state: State) -> tuple[jax.Array, State]:
    """Maps one token [B, E] and the state to [B, E] and the next state."""
    projections = self.proj_q, self.proj_k, self.proj_v
    q, k, v = (self.heads(project(x)) for project in projections)
    results = [
        group.step(*heads, state=before)
        for group, before, *heads in self.by_group(state, q, k, v)
    ]
    y, state = joined(results)
    return self.out_proj(y.reshape(x.shape)), state

  def heads(self, x: jax.Array) -> jax.Array:
    """Maps [..., H · D] to [..., H, D]."""
    return x.reshape(*x.shape[:-1], self.num_heads, -1)

  def by_group(self, state: State | None, *arrays: jax.Array | None):
    """Yields each group with its state and its heads of arrays [..., H, ·]."""
    one = len(self.groups) == 1
    states = [state] * len(self.groups) if one or state is None else state
    start = 0
    for group, before in zip(self.groups, states, strict=True):
      own = slice(start, start := start + group.num_heads)
      heads = [x if one or x is None else x[..., own, :] for x in arrays]
      yield group, before, *heads


def joined(results: Sequence[tuple[jax.Array, Any]]) -> tuple[jax.Array, Any]:
  """Returns the outputs of all heads [..., H, V], and their state."""
  y, states = zip(*results)
  y = y[0] if len(y) == 1 else jnp.concatenate(y, axis=-2)
  return y, _one_or_all(states)


def _one_or_all(states):
  return states[0] if len(states) == 1 else tuple(states)
