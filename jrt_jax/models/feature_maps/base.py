"""What every feature map is, and what it is made of."""

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
  """What maps are built from; each reads what it needs."""

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
    sign: of the kernel φ(q)·φ(k): 'positive', 'nonnegative' or 'signed'.
    normalizer: what outputs are divided by unless a config says else.
    closed_form: the kernel as the operation computes it; None if it cannot.
    draws: whether there are random projections, which keys and queries share.
    learned: whether something of it is trained.
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

    All is computed in float32 and rounded once: in bfloat16 elu(x) + 1 is 0
    where it should be small, and a phase of some hundred has no sign.
    """
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return self._features(x.astype(dtype)).astype(x.dtype)

  def prepare(self, x: jax.Array) -> jax.Array:
    """What the operation gets for queries or keys x [..., H, D]."""
    return x if self.closed_form else self.features(x)

  @property
  def operation(self) -> closed_forms.FeatureMap:
    """The map with which the operation reads what `prepare` returns."""
    return self.closed_form or closed_forms.identity()

  def _features(self, x):
    raise NotImplementedError


def make(name: str, settings: Settings) -> FeatureMap:
  """Returns the map `name`, a key of `MAPS`, with initial parameters."""
  return pkgutil.resolve_name(MAPS[name].module)(settings)
