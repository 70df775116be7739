"""Random features of the Gaussian kernel exp(-‖q - k‖² / (2 √D)).

Projections are drawn once and kept as parameters, which are saved in
checkpoints but not trained. Rows are orthogonal in blocks of D, with the
lengths of Gaussian vectors, which lowers the variance
(https://arxiv.org/abs/2009.14794).
"""

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.cost.feature_maps import num_waves
from jrt_jax.models.feature_maps.base import FeatureMap
from jrt_jax.models.feature_maps.base import Settings

_LONGEST = 3.0  # norm to which gaussian_prf shortens its inputs


class _RandomFeatures(FeatureMap):
  draws = True

  def __init__(self, settings: Settings, *, rows: int, sign: str):
    super().__init__(settings, width=settings.num_features, sign=sign)
    self.projection = nnx.Param(
        _orthogonal_rows(settings.rngs.params(), settings, rows)
    )

  def _products(self, x):
    rows = jax.lax.stop_gradient(self.projection[...]).astype(x.dtype)
    # Products in less than float32 would change phases.
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum('...hd,hmd->...hm', x, rows, precision=highest)


class GaussianRff(_RandomFeatures):
  """[cos Wx, sin Wx] / √m, m = F / 2; the kernel estimate can be negative.

  Source: Rahimi & Recht 2007, Random Features for Large-Scale Kernel Machines.
  """

  def __init__(self, settings: Settings):
    rows = num_waves(settings.num_features)
    super().__init__(settings, rows=rows, sign='signed')

  def _features(self, x):
    phase = self._products(_scaled(x))
    waves = jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)
    return waves * (self.width / 2) ** -0.5


class GaussianPrf(_RandomFeatures):
  """exp(Wx - ‖x‖²) / √F, whose products have the mean exp(-‖q - k‖² / 2).

  The exponent is at most ‖w‖² / 4. But the variance grows with exp(‖q + k‖²),
  and features of long vectors are 0 in float32. Therefore vectors longer than 3
  (after scaling by D^-1/4) are shortened to 3.

  Source: the positive features of Performer, https://arxiv.org/abs/2009.14794,
  for the Gaussian instead of exp(q·k).
  """

  def __init__(self, settings: Settings):
    super().__init__(settings, rows=settings.num_features, sign='positive')

  def _features(self, x):
    x = _scaled(x)
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    x *= _LONGEST * jax.lax.rsqrt(jnp.maximum(square, _LONGEST**2))
    square = jnp.minimum(square, _LONGEST**2)
    return jnp.exp(self._products(x) - square) * self.width**-0.5


def _scaled(x):
  """Scales x such that ‖q - k‖² has the factor 1/√D of the other maps."""
  return x * x.shape[-1] ** -0.25


def _orthogonal_rows(key, settings, rows):
  """Returns [H, rows, D]; each row is normally distributed."""
  H, D = settings.num_heads, settings.head_dim
  blocks = -(-rows // D)
  direction_key, length_key = jax.random.split(key)
  directions = jax.random.orthogonal(direction_key, D, (H, blocks))
  gaussian = jax.random.normal(length_key, (H, blocks, D, D))
  lengths = jnp.linalg.norm(gaussian, axis=-1, keepdims=True)
  return (directions * lengths).reshape(H, blocks * D, D)[:, :rows]
