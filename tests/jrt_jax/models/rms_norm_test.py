from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

SHAPE, EPS = (2, 3, 16), 1e-3


def draw(seed, shape=SHAPE):
  return jax.random.normal(jax.random.key(seed), shape)


def plain(x, scale):
  mean = jnp.mean(x * x, axis=-1, keepdims=True)
  return x, x / jnp.sqrt(mean + EPS) * scale


@pytest.fixture
def make_beside(make_build):
  """A function that returns `RMSNorm.beside` of x and the scale."""

  def make(dtype):
    norm = make_build(dtype=dtype, norm_eps=EPS).norm()
    graph, state = nnx.split(norm)

    def beside(x, scale):
      own = jax.tree.map(lambda _: scale, state)
      return nnx.merge(graph, own).beside(x)

    return beside

  return make


def gradients(function, scale):
  """Of a sum over both results, in x and the scale."""

  def value(x, scale):
    x, y = function(x, scale)
    return jnp.sum(x * draw(1)) + jnp.sum(y * draw(2))

  return jax.jit(jax.grad(value, (0, 1)))(draw(0), scale)


def error(actual, expected):
  return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(
    'dtype, most', [('float32', 1e-6), ('bfloat16', 2**-8)]
)
def test_gradients_are_those_of_the_formula(make_beside, dtype, most):
  scale = draw(3, SHAPE[-1:])
  actual = gradients(make_beside(dtype), scale)
  for a, b in zip(actual, gradients(plain, scale), strict=True):
    assert a.dtype == jnp.float32
    assert error(a, b) < most


def test_a_scale_of_0_spoils_no_other_gradient(make_beside):
  scale = draw(3, SHAPE[-1:]).at[5].set(0)
  dx, dscale = gradients(make_beside('float32'), scale)
  expected = gradients(plain, scale)
  assert dscale[5] == 0
  others = np.arange(SHAPE[-1]) != 5
  assert error(dscale[others], expected[1][others]) < 1e-6
  assert error(dx[..., others], expected[0][..., others]) < 1e-6


def test_backward_needs_nothing_of_the_residual_stream(make_beside):
  _, backward = jax.vjp(make_beside('bfloat16'), draw(0), draw(3, SHAPE[-1:]))
  kept = {(x.shape, x.dtype.name) for x in jax.tree.leaves(backward)}
  assert (SHAPE, 'bfloat16') in kept
  assert (SHAPE, 'float32') not in kept


def test_a_rounded_stream_has_rounded_gradients(make_beside):
  x, scale = draw(0).astype(jnp.bfloat16), draw(3, SHAPE[-1:])

  def gradient(function, x):
    results, backward = jax.vjp(lambda x: function(x, scale), x)
    return backward(tuple(draw(1).astype(y.dtype) for y in results))[0]

  actual = gradient(make_beside('float32'), x)
  assert actual.dtype == jnp.bfloat16
  expected = gradient(plain, x.astype(jnp.float32))
  assert error(actual.astype(jnp.float32), expected) < 2**-8
