"""A feature map that combines several others."""

from collections.abc import Sequence

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.models.feature_maps.base import FeatureMap
from jrt_jax.models.feature_maps.base import make
from jrt_jax.models.feature_maps.base import Settings


class Mixture(FeatureMap):
  """[√a₁ φ₁, √a₂ φ₂, …]: the kernel Σ a_g K_g, a = softmax(logits) per head."""

  learned = True

  def __init__(self, settings: Settings, parts: Sequence[FeatureMap]):
    signs = {part.sign for part in parts}
    positive = 'positive' if 'positive' in signs else 'nonnegative'
    super().__init__(
        settings,
        width=sum(part.width for part in parts),
        sign='signed' if 'signed' in signs else positive,
    )
    self.parts = nnx.List(parts)
    self.logits = nnx.Param(jnp.zeros((settings.num_heads, len(parts))))
    self.draws = any(part.draws for part in parts)

  def _features(self, x):
    weights = jax.nn.softmax(self.logits[...].astype(x.dtype))
    scales = jnp.sqrt(weights)
    parts = [
        scales[:, g, None] * part.features(x)
        for g, part in enumerate(self.parts)
    ]
    return jnp.concatenate(parts, axis=-1)


def mixture(settings: Settings) -> Mixture:
  """A mixture of the maps that `settings.parts` names."""
  return Mixture(settings, [make(name, settings) for name in settings.parts])
