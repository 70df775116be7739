"""One layer: a mixer and an MLP, each with a norm and a residual connection."""

from collections.abc import Mapping
import pkgutil
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.cost.mixers import MIXERS
from jrt_jax.models import parallel
from jrt_jax.models.context import Context
from jrt_jax.models.layers import Build
from jrt_jax.models.layers import SwiGLU

# What a block keeps for the backward pass: everything, its input only, or its
# input and the results of its matrix products.
REMAT_POLICIES = {
    'none': None,
    'full': jax.checkpoint_policies.nothing_saveable,
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class Block(nnx.Module):
  """x + mixer(norm(x)), then x + mlp(norm(x)); x [B, L, E] keeps its dtype."""

  def __init__(self, build: Build, mixer: str, config: Mapping[str, Any]):
    facts = MIXERS[mixer]
    self.mixer_norm = build.norm()
    self.mixer = pkgutil.resolve_name(facts.module)(build, config)
    self.mlp_norm = build.norm()
    self.mlp = SwiGLU(build, mlp_width=config['mlp_width'])
    self.remat = config['remat']
    self.kind = mixer
    self.reads_prefix = facts.reads_prefix
    self.state_axes = facts.state_axes

  def __call__(self, x: jax.Array, context: Context) -> jax.Array:
    """Maps [B, L, E] to [B, L, E]."""

    def forward(x):
      x, y = self.mixer_norm.beside(x)
      x, y = self.mlp_norm.beside(_add(x, self.mixer(y, context)))
      return _add(x, self.mlp(y))

    policy = REMAT_POLICIES[self.remat]
    return jax.checkpoint(forward, policy=policy)(x) if policy else forward(x)

  def prefill(self, x: jax.Array, context: Context, state: Any = None):
    """Maps [B, L, E] to [B, L, E] and the decode state of the mixer.

    Starts from `state`, the state after earlier tokens, if given.
    """
    y, following = self.mixer(
        self.mixer_norm(x), context, state=state, return_state=True
    )
    x = _add(x, y)
    if state is not None and context.mask is not None:
      following = choose_rows(context.mask.any(axis=1), following, state)
    following = parallel.lay(following, self.state_axes)
    return _add(x, self.mlp(self.mlp_norm(x))), following

  def prefill_blocks(self, x: jax.Array, masks: jax.Array, state: Any):
    """As `prefill`, for N consecutive blocks [N, B, C, E] that are prefix."""
    context = Context(*x.shape[1:3])

    def encode(state, block):
      x, mask = block
      x, here = self.mixer_norm(x), context._replace(mask=mask)
      return self.mixer.read_prefix(x, here, state), None

    def read(state, block):
      x, mask = block
      return self.prefill(x, context._replace(mask=mask), state)[::-1]

    if self.reads_prefix:
      state, _ = jax.lax.scan(encode, state, (x, masks))
    state, x = jax.lax.scan(read, state, (x, masks))
    return x, state

  def step(self, x: jax.Array, state: Any):
    """Maps one token [B, E] and the state to [B, E] and the next state."""
    y, state = self.mixer.step(self.mixer_norm(x), state)
    state = parallel.lay(state, self.state_axes)
    x = _add(x, y)
    return _add(x, self.mlp(self.mlp_norm(x))), state


def _add(x, y):
  """Returns x + y in the dtype of x, the residual stream."""
  return (x + y).astype(x.dtype)


def choose_rows(rows: jax.Array, new: Any, old: Any) -> Any:
  """Returns `new` in the rows where bool [B] is True, and `old` elsewhere."""

  def choose(new, old):
    return jnp.where(jnp.expand_dims(rows, [*range(1, new.ndim)]), new, old)

  return jax.tree.map(choose, new, old)
