import jax
import numpy as np
import pytest

from pallas_kernels.prefix_linear_attention.feature_maps import FEATURE_MAPS

WIDTHS = range(1, 21)  # D, odd and even


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


def test_the_paper_s_width_is_153():
  assert FEATURE_MAPS['taylor_exp'].width(16) == 153


@pytest.mark.parametrize('s', [-1.0, 0.0, 2.0])
def test_the_taylor_kernel_by_hand(s):
  # s = q·k / √D; the least value, 1/2, is at s = -1.
  assert FEATURE_MAPS['taylor_exp'].kernel(s * 4, 16) == 1 + s + s * s / 2


def test_identity_features_are_the_vectors_themselves():
  x = np.arange(3.0)
  identity = FEATURE_MAPS['identity']
  assert identity.features(x) is x and identity.width(3) == 3
  assert identity.kernel(x @ x, 3) == 5
