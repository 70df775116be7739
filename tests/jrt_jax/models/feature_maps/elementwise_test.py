from flax import nnx
import jax.numpy as jnp
import numpy as np

from jrt_jax.models import feature_maps

X = np.linspace(-12, 12, 481, dtype=np.float32)


def features(name, x):
  each = feature_maps.build(name, head_dim=1, num_heads=1, rngs=nnx.Rngs(0))
  return each.features(x[:, None, None])[:, 0, 0]


def test_a_small_exponential_is_not_lost_in_bfloat16():
  x = jnp.asarray(X, jnp.bfloat16)
  expected = np.where(x > 0, np.float32(x) + 1, np.exp(np.float32(x)))
  actual = features('elu_plus_one', x)
  np.testing.assert_allclose(np.float32(actual), expected, rtol=2**-8)


def test_the_shifted_gelu_is_positive_in_bfloat16():
  for dtype in (jnp.float32, jnp.bfloat16):
    assert (features('gelu_shifted', jnp.asarray(X, dtype)) > 0).all()
  assert (features('gelu', X) < -0.16).any()
  np.testing.assert_allclose(
      features('gelu_shifted', X) - features('gelu', X), 0.17, atol=1e-6
  )


def test_a_relu_never_is_0():
  actual = features('relu', X)
  np.testing.assert_allclose(actual, np.maximum(X, 0), atol=2e-6)
  assert (actual > 0).all()
