import re

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import models
from jrt_jax.models.layers import SwiGLU


@pytest.fixture(scope='module')
def weights(tiny_config):
  """Initial weights that are many enough to measure how they spread."""
  config = tiny_config(
      mixers=('conv', 'pla', 'swa', 'la', 'attention'),
      width=64,
      mlp_width=64,
      vocab_size=200,
      feature_map={'name': 'taylor_exp', 'feature_dim': 16},
      init_std=0.02,
  )
  params = models.split(models.build(config))[1]
  return {name: np.asarray(x) for name, x in params.items()}


def of(weights, *endings):
  chosen = {n: x for n, x in weights.items() if n.endswith(endings)}
  assert chosen
  return chosen


def assert_normal(x, std):
  assert x.std() == pytest.approx(std, rel=4 / (2 * x.size) ** 0.5)
  assert x.mean() == pytest.approx(0, abs=4 * std / x.size**0.5)
  assert np.abs(x).max() > 2.5 * std  # not truncated


def test_weights_start_with_the_standard_deviation_of_the_config(weights):
  outputs = of(weights, 'out_proj.kernel', 'fc2.kernel', 'conv.kernel')
  inputs = of(weights, '.kernel', 'embedding.embedding').keys() - outputs
  assert len(inputs) == 1 + 1 + 5 + 1 + 3 + 1 + 5  # embedding, mixers, MLPs
  for name in inputs:
    assert_normal(weights[name], 0.02)


def test_weights_that_write_to_the_residual_stream_start_smaller(weights):
  outputs = of(weights, 'out_proj.kernel', 'fc2.kernel')
  assert len(outputs) == 10
  for x in outputs.values():
    assert_normal(x, 0.02 / 10**0.5)  # 2 of each of 5 layers


def test_taps_of_convolutions_start_uniform(weights):
  (taps,) = of(weights, 'conv.kernel').values()
  assert np.abs(taps).max() == pytest.approx(3**-0.5, rel=0.05)
  assert np.abs(taps).max() <= 3**-0.5
  assert taps.std() == pytest.approx(1 / 3, rel=0.1)


def test_norms_start_at_1_and_biases_at_0(weights):
  for x in of(weights, '.scale').values():
    np.testing.assert_array_equal(x, 1)
  for x in of(weights, '.bias').values():
    np.testing.assert_array_equal(x, 0)


def test_every_parameter_is_float32_and_has_an_initial_value_of_a_kind(weights):
  kinds = '.scale', '.bias', '.kernel', 'embedding.embedding'
  assert of(weights, *kinds).keys() == weights.keys()
  assert {x.dtype for x in weights.values()} == {np.dtype('float32')}


def test_initial_weights_are_those_of_the_seed(tiny_config):
  first, again, other = (
      models.split(models.build(tiny_config(mixers=('conv',)), seed))[1]
      for seed in (0, 0, 1)
  )
  for name in of(first, '.kernel', 'embedding.embedding'):
    np.testing.assert_array_equal(first[name], again[name])
    assert (first[name] != other[name]).any()


def test_an_mlp_gates_its_first_half_by_its_second(make_build):
  mlp = SwiGLU(make_build(width=6), mlp_width=5)
  x = jax.random.normal(jax.random.key(0), (2, 3, 6))
  value, gate = np.einsum('ble,enm->nblm', x, mlp.fc1.kernel)
  expected = value * gate / (1 + np.exp(-gate)) @ np.asarray(mlp.fc2.kernel)
  np.testing.assert_allclose(mlp(x), expected, rtol=1e-4, atol=1e-6)


def test_derivatives_of_linear_layers_are_the_same_on_all_devices(
    monkeypatch, make_build
):
  graph, state = nnx.split(make_build(width=6).linear(6, 5))
  x = jax.random.normal(jax.random.key(0), (3, 4, 6))

  def judge(platform):
    monkeypatch.setattr(jax, 'default_backend', lambda: platform)
    value = lambda state, x: jnp.sum(jnp.sin(nnx.merge(graph, state)(x)))
    return jax.value_and_grad(value, (0, 1))(state, x)

  assert_near(judge('cpu'), judge('gpu'))


@pytest.mark.parametrize('bias', [False, True])
def test_projections_are_the_same_stacked_side_by_side_and_apart(
    monkeypatch, make_build, bias
):
  project = make_build(width=6).projections(6, 3, 5, bias=bias)
  if bias:
    project.bias[...] = jax.random.normal(jax.random.key(1), (3, 5))
  graph, state = nnx.split(project)
  x = jax.random.normal(jax.random.key(0), (3, 4, 6))

  def value(state, x, apart):
    project = nnx.merge(graph, state)
    if apart == 'stacked':  # as where devices share them
      results = jnp.moveaxis(nnx.LinearGeneral.__call__(project, x), -2, 0)
    else:
      results = project(x, apart=apart)
    return sum(i * jnp.sum(jnp.sin(y)) for i, y in enumerate(results))

  def judge(platform, apart):
    monkeypatch.setattr(jax, 'default_backend', lambda: platform)
    return jax.value_and_grad(value, (0, 1))(state, x, apart)

  expected = judge('gpu', 'stacked')
  for platform, apart in (('gpu', False), ('gpu', True), ('cpu', False)):
    assert_near(judge(platform, apart), expected)


def assert_near(actual, expected):
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
      actual,
      expected,
  )


@pytest.mark.parametrize('bias', [False, True])
def test_what_is_added_to_a_float32_stream_is_not_rounded(make_build, bias):
  project = make_build(width=6, dtype='bfloat16').linear_out(50, bias=bias)
  graph, state = nnx.split(project)
  x = jax.random.normal(jax.random.key(0), (3, 4, 50), jnp.bfloat16)
  weights = jax.random.normal(jax.random.key(1), (3, 4, 6))

  def value(project, x):
    return jnp.sum(weights * project(x))

  def rounded(state, x):
    project = nnx.merge(graph, state)
    return value(project, x)

  def exact(state, x):
    kernel, x = state.kernel[...].astype(x.dtype), x.astype(jnp.float32)
    y = x @ kernel.astype(jnp.float32)
    return jnp.sum(weights * (y + state.bias[...] if bias else y))

  judged = jax.value_and_grad(rounded, (0, 1))
  actual, gradients = judged(state, x)
  expected, exact_gradients = jax.value_and_grad(exact, (0, 1))(state, x)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(
          a.astype(jnp.float32), b.astype(jnp.float32), rtol=0.02, atol=0.02
      ),
      gradients,
      exact_gradients,
  )
  program = jax.jit(judged).lower(state, x).as_text()
  products = [x for x in program.splitlines() if 'dot_general' in x]
  assert len(products) == 3
  for product in products:
    assert re.search(r'\(tensor<\S*xbf16>, tensor<\S*xbf16>\)', product)


def test_norms_divide_by_the_root_of_the_mean_square(make_build):
  x = np.float32([[3.0, 4.0], [0.0, 0.0]])
  norm = make_build(width=2, norm_eps=0.5).norm()
  expected = x / np.sqrt([[12.5 + 0.5], [0.5]])
  np.testing.assert_allclose(norm(jnp.array(x)), expected, rtol=1e-5)


def test_norms_compute_in_float32_and_round_once(make_build):
  x, scale = jax.random.normal(jax.random.key(0), (2, 100, 16))
  norm = make_build(dtype='bfloat16').norm()
  norm.scale[...] = scale[0]
  exact = scale[0] * x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5)
  wrong = norm(x) != exact.astype(jnp.bfloat16)
  assert wrong.mean() < 0.01  # which round the other way
