import math

import hypothesis
from hypothesis.extra import numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.prefix_linear_attention import feature_maps
from pallas_kernels.prefix_linear_attention.feature_maps import FEATURE_MAPS

WIDTHS = range(1, 21)  # D, odd and even

# Other maps, the weight of s = q·k / √D, and F of D = 3.
MAPS = {
    feature_maps.taylor_exp(1): (lambda s: 1 + s, 4),
    feature_maps.taylor_exp(3): (
        lambda s: 1 + s + s**2 / 2 + s**3 / 6,
        20,
    ),
    feature_maps.polynomial(2, 0.5): (lambda s: (0.5 + s) ** 2, 10),
    feature_maps.polynomial(3, 1.0): (lambda s: (1 + s) ** 3, 20),
    feature_maps.polynomial(2, 0.0): (lambda s: s**2, 6),
    feature_maps.symmetric_power(1): (lambda s: s, 3),
    feature_maps.symmetric_power(4): (lambda s: s**4, 15),
}


@pytest.fixture(scope='module')
def features(unoptimized):
  """Queries, keys and Taylor features of every width, compiled at once."""
  rng = np.random.default_rng(0)
  size = np.linspace(0, 4, 50)[:, None]
  shape = lambda D: (2, 50, D)
  x = {
      D: (size * rng.standard_normal(shape(D))).astype(np.float32)
      for D in WIDTHS
  }
  map_all = lambda x: jax.tree.map(FEATURE_MAPS['taylor_exp'].features, x)
  return x, jax.jit(map_all)(x)


@pytest.fixture(scope='module')
def all_features(unoptimized):
  """Features of all of `MAPS`, compiled once for float64."""
  with jax.enable_x64(True):
    yield jax.jit(lambda x: [each.features(x) for each in MAPS])


@pytest.mark.parametrize('D', WIDTHS)
def test_products_of_taylor_features_are_the_kernel(features, D):
  (q, k), (phi_q, phi_k) = (np.float64(x[D]) for x in features)
  kernel = FEATURE_MAPS['taylor_exp'].kernel
  expected = np.asarray(kernel((q * k).sum(-1), D))
  terms = phi_q * phi_k
  error = np.abs(terms.sum(-1) - expected)
  assert (error <= 1e-6 * np.abs(terms).sum(-1)).all()
  assert (expected >= 0.5).all()


@pytest.mark.parametrize('D', WIDTHS)
def test_taylor_features_hold_each_product_once(features, D):
  F = FEATURE_MAPS['taylor_exp'].width(D)
  assert features[1][D].shape == (2, 50, F)
  assert F == 1 + D + D * (D + 1) // 2
  values = np.abs(features[1][D][0, -1])  # of numbers without a pattern
  assert len(np.unique(values)) == F


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(
    hnp.arrays('float64', (2, 3), elements={'min_value': -9, 'max_value': 9})
)
def test_products_of_features_are_the_closed_form(all_features, x):
  s = x[0] @ x[1] / 3**0.5
  for (each, (weight, F)), phi in zip(MAPS.items(), all_features(x)):
    assert phi.shape == (2, F) and F == each.width(3)
    terms = np.asarray(phi[0] * phi[1])
    scale = np.abs(terms).sum() + 1e-290
    assert abs(terms.sum() - weight(s)) <= 1e-12 * scale, each.name
    assert abs(each.kernel(x[0] @ x[1], 3) - weight(s)) <= 1e-12 * scale


def test_each_monomial_stands_once(all_features):
  x = np.random.default_rng(0).standard_normal((2, 3))
  for each, phi in zip(MAPS, all_features(x)):
    assert len(np.unique(np.abs(phi[0]))) == phi.shape[1], each.name


def test_features_are_rounded_once():
  x = jnp.bfloat16(1.0859375)  # needs all bits of a bfloat16
  phi = feature_maps.symmetric_power(3).features(jnp.full((1,), x))
  assert phi.dtype == jnp.bfloat16
  assert phi == jnp.bfloat16(float(x) ** 3)


def test_equal_settings_are_one_map():
  assert feature_maps.taylor_exp() == feature_maps.taylor_exp(2)
  assert feature_maps.polynomial(3, 1) is feature_maps.polynomial(3, 1.0)
  assert feature_maps.polynomial(3, 1) != feature_maps.polynomial(3, 2)


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda: feature_maps.taylor_exp(0), 'order must be positive, got 0'),
        (
            lambda: feature_maps.polynomial(0, 1),
            'degree must be positive, got 0',
        ),
        (lambda: feature_maps.symmetric_power(-1), 'degree must .* got -1'),
        (lambda: feature_maps.polynomial(2, -1.0), 'offset must not be neg'),
    ],
)
def test_impossible_settings_are_named(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def test_the_paper_s_width_is_153():
  assert FEATURE_MAPS['taylor_exp'].width(16) == 153


@pytest.mark.parametrize('s', [-1.0, 0.0, 2.0])
def test_the_taylor_kernel_by_hand(s):
  # s = q·k / √D; the least value, 1/2, is at s = -1.
  assert FEATURE_MAPS['taylor_exp'].kernel(s * 4, 16) == 1 + s + s * s / 2


def test_the_taylor_kernel_is_the_exponential_for_small_weights_only():
  kernel = FEATURE_MAPS['taylor_exp'].kernel
  for s in np.linspace(-1, 1, 9):
    assert abs(kernel(s, 1) - math.exp(s)) <= 0.22
  assert kernel(-4, 1) == 5 and kernel(4, 1) == 13  # it grows on both sides


def test_identity_features_are_the_vectors_themselves():
  x = np.arange(3.0)
  identity = FEATURE_MAPS['identity']
  assert identity.features(x) is x and identity.width(3) == 3
  assert identity.kernel(x @ x, 3) == 5
