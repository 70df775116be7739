from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.models import feature_maps

H, D = 2, 4


def test_a_mixture_weighs_kernels_by_head():
  parts = ('linear', 'elu_plus_one', 'hedgehog')
  settings = {'head_dim': D, 'num_heads': H, 'rngs': nnx.Rngs(0)}
  mixture = feature_maps.build('mixture', parts=parts, **settings)
  logits = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], np.float32)
  mixture.logits[...] = logits
  q, k = np.random.default_rng(0).standard_normal((2, 5, H, D), np.float32)
  others = [feature_maps.build(name, **settings) for name in parts]

  @jax.jit
  def weigh(q, k):
    return [
        jnp.sum(each.features(q) * each.features(k), axis=-1)
        for each in (mixture, *others)
    ]

  actual, *kernels = weigh(q, k)
  expected = np.sum(jax.nn.softmax(logits) * np.stack(kernels, -1), -1)
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
  assert mixture.width == D + D + 2 * D
