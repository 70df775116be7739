"""The base class of feature maps, and the settings that they are built from."""

from collections.abc import Sequence
import pkgutil
from typing import NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.cost.feature_maps import MAPS
from jrt_jax.cost.feature_maps import resolve_normalizer
from pallas_kernels.prefix_linear_attention import feature_maps as closed_forms


class Settings(NamedTuple):
  """The settings of all maps; each map reads those that it needs."""

  head_dim: int  # D
  num_heads: int  # H
  rngs: nnx.Rngs
  order: int = 2  # of taylor_exp
  degree: int = 2  # of polynomial and symmetric_power
  offset: float = 1.0  # c of polynomial
  num_features: int = 152  # F of gaussian_rff, gaussian_prf and mlp
  parts: Sequence[str] = ('taylor_exp', 'hedgehog')  # of mixture


class FeatureMap(nnx.Module):
  """A map φ of the queries and keys of H heads.

  Attributes:
    num_heads: H.
    width: F, features of a head.
    sign: sign of the kernel φ(q)·φ(k): 'positive', 'nonnegative' or 'signed'.
    normalizer: the normalizer of the outputs if the config says 'auto'.
    closed_form: the kernel, if the operation can compute it itself, or None.
    draws: whether it has random projections, which keys and queries share.
    learned: whether it has trained parameters.
  """

  closed_form: closed_forms.FeatureMap | None = None
  draws = False
  learned = False

  def __init__(self, settings: Settings, *, width: int, sign: str):
    self.num_heads = settings.num_heads
    self.width = width
    self.sign = sign
    self.normalizer = resolve_normalizer('auto', sign)

  def features(self, x: jax.Array) -> jax.Array:
    """Maps [..., H, D] to φ [..., H, F], in the dtype of `x`.

    Everything is computed in float32 and rounded once: in bfloat16, elu(x) + 1
    would be 0 instead of a small number, and the sine of a large phase would be
    meaningless.
    """
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return self._features(x.astype(dtype)).astype(x.dtype)

  def prepare(self, x: jax.Array) -> jax.Array:
    """Returns the input of the operation for queries or keys x [..., H, D]."""
    return x if self.closed_form else self.features(x)

  @property
  def operation(self) -> closed_forms.FeatureMap:
    """The map that the operation applies to the result of `prepare`."""
    return self.closed_form or closed_forms.identity()

  def _features(self, x):
    raise NotImplementedError


def make(name: str, settings: Settings) -> FeatureMap:
  """Returns the map `name`, a key of `MAPS`, with initial parameters."""
  return pkgutil.resolve_name(MAPS[name].module)(settings)
