"""Polynomial kernels of q·k, which the operation computes itself."""

import jax

from jrt_jax.models.feature_maps.base import FeatureMap
from jrt_jax.models.feature_maps.base import Settings
from pallas_kernels.prefix_linear_attention import feature_maps as closed_forms


class ClosedForm(FeatureMap):
  """A map of `pallas_kernels`; s = q·k / √D in all of them."""

  def __init__(
      self,
      settings: Settings,
      closed_form: closed_forms.FeatureMap,
      sign: str,
  ):
    width = closed_form.width(settings.head_dim)
    super().__init__(settings, width=width, sign=sign)
    self.closed_form = closed_form

  def features(self, x: jax.Array) -> jax.Array:
    """Maps [..., H, D] to φ [..., H, F], in the dtype of `x`."""
    return self.closed_form.features(x)


def linear(settings: Settings) -> FeatureMap:
  """s."""
  return ClosedForm(settings, closed_forms.symmetric_power(1), 'signed')


def polynomial(settings: Settings) -> FeatureMap:
  """(offset + s)^degree: the student report, section 4.2."""
  sign = 'signed' if settings.degree % 2 else 'nonnegative'
  kernel = closed_forms.polynomial(settings.degree, settings.offset)
  return ClosedForm(settings, kernel, sign)


def taylor_exp(settings: Settings) -> FeatureMap:
  """exp(s) up to s^order: Based, https://arxiv.org/abs/2402.18668.

  For even orders it also grows for negative s: the weight is 5 at s = -4, and
  13 at s = 4.
  """
  sign = 'signed' if settings.order % 2 else 'positive'
  return ClosedForm(settings, closed_forms.taylor_exp(settings.order), sign)


def symmetric_power(settings: Settings) -> FeatureMap:
  """s^degree; unlike with taylor_exp, orthogonal keys have no weight."""
  sign = 'signed' if settings.degree % 2 else 'nonnegative'
  kernel = closed_forms.symmetric_power(settings.degree)
  return ClosedForm(settings, kernel, sign)
