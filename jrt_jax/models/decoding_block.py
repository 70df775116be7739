"""A layer that reads prompts and decodes: what training does not do."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.cost.mixers import Mixer as Facts
from jrt_jax.cost.mixers import MIXERS
from jrt_jax.models import parallel
from jrt_jax.models.context import Context


class DecodingBlock(nnx.Module):
  """A `Block` with a decode state; the attributes are those of `Block`."""

  mixer_norm: Any
  mixer: Any
  mlp_norm: Any
  mlp: Any = None
  kind: str

  @property
  def facts(self) -> Facts:
    """The facts of the mixer."""
    return MIXERS[self.kind]

  def prefill(self, x: jax.Array, context: Context, state: Any = None):
    """Maps [B, L, E] to [B, L, E] and the decode state of the mixer.

    Starts from `state`, the state after earlier tokens, if given.
    """
    y, following = self.mixer(
        self.mixer_norm(x), context, state=state, return_state=True
    )
    x = add(x, y)
    if state is not None and context.mask is not None:
      following = choose_rows(context.mask.any(axis=1), following, state)
    following = parallel.lay(following, self.facts.state_axes)
    return self.add_mlp(x), following

  def prefill_blocks(
      self,
      x: jax.Array,
      masks: jax.Array,
      state: Any,
      sequence_axes: tuple[str, ...] = (),
  ):
    """As `prefill`, for N consecutive blocks [N, B, C, E] that are prefix.

    `sequence_axes` are the mesh axes that divide the C positions.
    """
    if self.facts.reads_prefix:
      state = self.mixer.read_prefix(
          self.mixer_norm(x), masks, state, sequence_axes
      )
    return self.read_blocks(x, masks, state, sequence_axes)

  def read_blocks(
      self,
      x: jax.Array,
      masks: jax.Array,
      state: Any,
      sequence_axes: tuple[str, ...] = (),
  ):
    """As `prefill`, for N blocks [N, B, C, E] of a prefix that `state` has."""

    def read(state, block):
      x, mask = block
      context = Context(
          *mask.shape,
          mask=mask,
          prefix_in_state=True,
          sequence_axes=sequence_axes,
      )
      return self.prefill(x, context, state)[::-1]

    state, x = jax.lax.scan(read, state, (x, masks))
    return x, state

  def step(self, x: jax.Array, state: Any):
    """Maps one token [B, E] and the state to [B, E] and the next state."""
    y, state = self.mixer.step(self.mixer_norm(x), state)
    state = parallel.lay(state, self.facts.state_axes)
    return self.add_mlp(add(x, y)), state

  def add_mlp(self, x: jax.Array) -> jax.Array:
    """Returns x + mlp(norm(x)), or x itself if the layer has no MLP."""
    if self.mlp is None:
      return x
    x, y = self.mlp_norm.beside(x)
    return add(x, self.mlp(y))


def add(x: jax.Array, y: jax.Array) -> jax.Array:
  """Returns x + y in the dtype of x, the residual stream."""
  return (x + y).astype(x.dtype)


def choose_rows(rows: jax.Array, new: Any, old: Any) -> Any:
  """Returns `new` in the rows where bool [B] is True, and `old` elsewhere."""

  def choose(new, old):
    return jnp.where(jnp.expand_dims(rows, [*range(1, new.ndim)]), new, old)

  return jax.tree.map(choose, new, old)
