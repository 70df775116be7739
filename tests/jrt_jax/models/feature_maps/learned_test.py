from flax import nnx
import jax
import numpy as np
import pytest

from jrt_jax.models import feature_maps

H, D = 2, 4
X = np.random.default_rng(0).standard_normal((3, H, D), np.float32)


def build(name):
  return feature_maps.build(
      name, head_dim=D, num_heads=H, rngs=nnx.Rngs(0), num_features=6
  )


def test_hedgehog_starts_as_the_softmax_of_queries_and_keys():
  expected = [jax.nn.softmax(X), jax.nn.softmax(-X)]
  actual = jax.jit(build('hedgehog').features)(X)
  np.testing.assert_allclose(actual, np.concatenate(expected, -1), rtol=1e-6)


def test_the_mlp_by_hand():
  each = build('mlp')
  rng = np.random.default_rng(1)
  each.fc1.bias[...] = rng.standard_normal((H, 4 * D), np.float32)
  each.fc2.bias[...] = rng.standard_normal((H, 6), np.float32)
  expected = np.empty((3, H, 6))
  for h in range(H):
    (w1, b1), (w2, b2) = (
        (np.asarray(fc.kernel)[h], np.asarray(fc.bias)[h])
        for fc in (each.fc1, each.fc2)
    )
    x = X[:, h] @ w1 + b1
    cubic = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    inner = x * (1 + np.tanh(cubic)) / 2  # not x Φ(x) itself
    expected[:, h] = np.log1p(np.exp(inner @ w2 + b2))
  np.testing.assert_allclose(jax.jit(each.features)(X), expected, rtol=1e-5)


def test_initial_mlps_neither_shrink_nor_grow_what_they_read():
  each = build('mlp')
  for fc in (each.fc1, each.fc2):
    _, inputs, _ = fc.kernel.shape
    assert fc.kernel[...].var() * inputs == pytest.approx(1, rel=0.4)


def test_heads_are_trained_apart():
  each = build('mlp')
  graph, params = nnx.split(each)
  loss = lambda params: (nnx.merge(graph, params).features(X)[:, 0] ** 2).sum()
  for gradient in jax.tree.leaves(jax.jit(jax.grad(loss))(params)):
    assert np.any(gradient[0]) and not np.any(gradient[1])
