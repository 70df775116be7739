from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models import feature_maps

H, D, F = 2, 4, 1024


def build(name, seed=0, **settings):
  return feature_maps.build(
      name,
      head_dim=D,
      num_heads=H,
      rngs=nnx.Rngs(seed),
      **{'num_features': F} | settings,
  )


def variance(name, q, k):
  """Of the product of one feature of q and k, with independent rows."""
  kernel = np.exp(-np.sum((q - k) ** 2, -1) / 2)
  if name == 'gaussian_rff':  # cos(w·(q - k)), in F / 2 pairs
    return 1 + kernel**4 - 2 * kernel**2
  both, each = (q + k) ** 2, 2 * (q**2 + k**2)
  return np.exp(np.sum(2 * both - each, -1)) - kernel**2


@pytest.mark.parametrize('name', ['gaussian_rff', 'gaussian_prf'])
def test_the_mean_of_products_is_the_gaussian(name):
  q, k = np.random.default_rng(1).standard_normal((2, 9, H, D), np.float32)
  each = build(name)
  weigh = jax.jit(lambda q, k: (each.features(q) * each.features(k)).sum(-1))
  products = np.asarray(weigh(q, k))
  q, k = q * D**-0.25, k * D**-0.25
  expected = np.exp(-np.sum((q - k) ** 2, -1) / 2)
  error = np.abs(products - expected)
  assert (error < 5 * np.sqrt(variance(name, q, k) / F)).all()
  assert error.max() > 1e-5  # it is an estimate
  others = np.exp(-np.sum((q - k[::-1]) ** 2, -1) / 2)
  assert (np.abs(products - others) > 0.1).any()


@pytest.mark.parametrize('scale', [1e-3, 1.0, 1e3])
def test_weights_of_positive_features_never_vanish(scale):
  q, k = scale * np.random.default_rng(2).standard_normal((2, 9, H, D))
  phi = jax.jit(build('gaussian_prf').features)
  weights = jnp.einsum('ihf,jhf->hij', phi(jnp.float32(q)), phi(jnp.float32(k)))
  assert weights.min() > 1e-11  # the floor of `sum` is lower


def test_rows_are_orthogonal_in_blocks_and_as_long_as_gaussian_vectors():
  rows = np.asarray(build('gaussian_prf', num_features=10).projection)
  assert rows.shape == (H, 10, D)
  for block in (rows[:, :D], rows[:, D : 2 * D]):
    gram = block @ block.swapaxes(1, 2)
    off = gram - np.eye(D) * gram
    np.testing.assert_allclose(off, 0, atol=1e-5)
  squares = np.sum(np.square(build('gaussian_prf').projection), axis=-1)
  # Chi-squared with D degrees of freedom: mean D, variance 2 D.
  assert abs(squares.mean() - D) < 5 * np.sqrt(2 * D / squares.size)
  assert abs(squares.var() - 2 * D) < 0.3 * 2 * D


def test_heads_and_seeds_have_projections_of_their_own():
  first, other = (
      np.asarray(build('gaussian_rff', s).projection) for s in (0, 1)
  )
  assert (first[0] != first[1]).all() and (first != other).all()
  np.testing.assert_array_equal(first, build('gaussian_rff').projection)


def test_phases_of_bfloat16_are_not_rounded():
  each = build('gaussian_rff', num_features=8)
  x = np.random.default_rng(0).standard_normal((5, H, D)) * 100
  x = jnp.asarray(x, jnp.bfloat16)
  low, high = jax.jit(
      lambda x: (each.features(x), each.features(x.astype(jnp.float32)))
  )(x)
  np.testing.assert_allclose(np.float32(low), high, rtol=2**-8, atol=1e-6)
