"""Feature maps that apply a function to each component; F = D."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jrt_jax.models.feature_maps.base import FeatureMap
from jrt_jax.models.feature_maps.base import Settings

_LEAST = 1e-6  # so that the weights of a query do not sum to 0
_SHIFT = 0.17  # the minimum of GELU is -0.16997


class Elementwise(FeatureMap):
  """φ(x)_i = function(x_i)."""

  def __init__(self, settings: Settings, function: Callable, sign: str):
    super().__init__(settings, width=settings.head_dim, sign=sign)
    self._function = function

  def _features(self, x):
    return self._function(x)


def relu(settings: Settings) -> FeatureMap:
  """max(x, 0) + 1e-6."""
  return Elementwise(settings, _relu, 'positive')


def gelu(settings: Settings) -> FeatureMap:
  """GELU, which also has negative values."""
  return Elementwise(settings, _gelu, 'signed')


def gelu_shifted(settings: Settings) -> FeatureMap:
  """GELU(x) + 0.17."""
  return Elementwise(settings, _gelu_shifted, 'positive')


def elu_plus_one(settings: Settings) -> FeatureMap:
  """ELU(x) + 1: Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236."""
  return Elementwise(settings, _elu_plus_one, 'positive')


def _relu(x):
  return jax.nn.relu(x) + _LEAST


def _gelu(x):
  return jax.nn.gelu(x, approximate=False)


def _gelu_shifted(x):
  return _gelu(x) + _SHIFT


def _elu_plus_one(x):
  # exp(x) - 1 + 1 would be 0 for small exp(x).
  return jnp.where(x > 0, x + 1, jnp.exp(jnp.minimum(x, 0)))
