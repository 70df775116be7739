"""Random features of the Gaussian kernel exp(-‖q - k‖² / (2 √D)).

Projections are drawn once, as parameters: checkpoints keep them, and training
leaves them as they are. Rows are orthogonal in blocks of D, with the lengths of
Gaussian vectors, which lowers the variance (https://arxiv.org/abs/2009.14794).
"""

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.models.feature_maps.base import FeatureMap
from jrt_jax.models.feature_maps.base import Settings


class _RandomFeatures(FeatureMap):
  draws = True

  def __init__(self, settings: Settings, *, rows: int, sign: str):
    if settings.num_features < 1:
      raise ValueError(
          f'num_features must be positive, got {settings.num_features}'
      )
    super().__init__(settings, width=settings.num_features, sign=sign)
    self.projection = nnx.Param(
        _orthogonal_rows(settings.rngs.params(), settings, rows)
    )

  def _scaled(self, x):
    """x, so that |q - k|² has the 1/√D of the other maps, and its products."""
    x = x * x.shape[-1] ** -0.25
    rows = jax.lax.stop_gradient(self.projection[...]).astype(x.dtype)
    # A product in less than float32 would turn phases.
    highest = jax.lax.Precision.HIGHEST
    return x, jnp.einsum('...hd,hmd->...hm', x, rows, precision=highest)


class GaussianRff(_RandomFeatures):
  """[cos Wx, sin Wx] / √m, m = F / 2: estimates of either sign.

  Source: Rahimi & Recht 2007, Random Features for Large-Scale Kernel Machines.
  """

  def __init__(self, settings: Settings):
    if settings.num_features % 2:
      raise ValueError(
          'num_features must be even for gaussian_rff, got'
          f' {settings.num_features}'
      )
    super().__init__(settings, rows=settings.num_features // 2, sign='signed')

  def _features(self, x):
    _, phase = self._scaled(x)
    waves = jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)
    return waves * (self.width / 2) ** -0.5


class GaussianPrf(_RandomFeatures):
  """exp(Wx - ‖x‖²) / √F, whose products have the mean exp(-‖q - k‖² / 2).

  The exponent is at most ‖w‖² / 4, so that no stabiliser is needed; one that
  depended on the keys would see the future or change the kernel. The variance
  grows with exp(‖q + k‖²). Source: the positive features of Performer,
  https://arxiv.org/abs/2009.14794, for the Gaussian instead of exp(q·k).
  """

  def __init__(self, settings: Settings):
    super().__init__(settings, rows=settings.num_features, sign='positive')

  def _features(self, x):
    x, product = self._scaled(x)
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return jnp.exp(product - square) * self.width**-0.5


def _orthogonal_rows(key, settings, rows):
  """[H, rows, D], normally distributed each."""
  H, D = settings.num_heads, settings.head_dim
  blocks = -(-rows // D)
  direction_key, length_key = jax.random.split(key)
  directions = jax.random.orthogonal(direction_key, D, (H, blocks))
  gaussian = jax.random.normal(length_key, (H, blocks, D, D))
  lengths = jnp.linalg.norm(gaussian, axis=-1, keepdims=True)
  return (directions * lengths).reshape(H, blocks * D, D)[:, :rows]
