"""One layer: a mixer and an MLP, each with a norm and a residual connection."""

from collections.abc import Mapping
import pkgutil
from typing import Any

import jax

from jrt_jax.cost.mixers import MIXERS
from jrt_jax.models.context import Context
from jrt_jax.models.decoding_block import add
from jrt_jax.models.decoding_block import DecodingBlock
from jrt_jax.models.layers import Build
from jrt_jax.models.layers import SwiGLU

# What a block keeps for the backward pass: everything, its input only, or its
# input and the results of its matrix products.
REMAT_POLICIES = {
    'none': None,
    'full': jax.checkpoint_policies.nothing_saveable,
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class Block(DecodingBlock):
  """x + mixer(norm(x)), then x + mlp(norm(x)); x [B, L, E] keeps its dtype."""

  def __init__(self, build: Build, mixer: str, config: Mapping[str, Any]):
    self.mixer_norm = build.norm()
    self.mixer = pkgutil.resolve_name(MIXERS[mixer].module)(build, config)
    if config['mlp_width']:
      self.mlp_norm = build.norm()
      self.mlp = SwiGLU(build, mlp_width=config['mlp_width'])
    self.remat = config['remat']
    self.kind = mixer

  def __call__(self, x: jax.Array, context: Context) -> jax.Array:
    """Maps [B, L, E] to [B, L, E]."""

    def forward(x):
      x, y = self.mixer_norm.beside(x)
      return self.add_mlp(add(x, self.mixer(y, context)))

    policy = REMAT_POLICIES[self.remat]
    return jax.checkpoint(forward, policy=policy)(x) if policy else forward(x)
