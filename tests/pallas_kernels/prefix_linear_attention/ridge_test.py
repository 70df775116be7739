import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels.prefix_linear_attention import ridge

B, P, H, D, V = 2, 7, 2, 3, 2
F = 1 + D + D * (D + 1) // 2
STRENGTH = np.float32([0.05, 0.3])
MASK = np.arange(P) < np.array([[P], [4]])


@pytest.fixture
def arrays():
  rng = np.random.default_rng(0)
  return (
      rng.standard_normal((B, P, H, D), np.float32),
      rng.standard_normal((B, P, H, V), np.float32),
      STRENGTH,
  )


def features(k):
  """The features of taylor_exp of order 2, in the order of the state."""
  pairs = [k * np.roll(k, r, axis=-1) for r in range(1, (D + 1) // 2)]
  return np.concatenate(
      [np.ones_like(k[..., :1]), k * D**-0.25, k * k * (0.5 / D) ** 0.5]
      + [x * D**-0.5 for x in pairs],
      axis=-1,
  )


def solved(k, v, strength, mask=MASK):
  """The ridge regression in float64, [B, H, F, V]."""
  k, v, strength = (np.asarray(x, np.float64) for x in (k, v, strength))
  phi = features(k) * mask[..., None, None]
  kk = np.einsum('bphf,bphg->bhfg', phi, phi)
  kv = np.einsum('bphf,bphv->bhfv', phi, v)
  mean = np.trace(kk, axis1=-1, axis2=-2)[..., None, None] / kk.shape[-1]
  unit = np.eye(kk.shape[-1]) * strength[:, None, None]
  return mean * np.linalg.solve(kk + mean * unit, kv)


@functools.partial(jax.jit, static_argnames='feature_map')
def computed(k, v, strength, mask=MASK, feature_map='taylor_exp'):
  sums = ridge.prefix_sums(k, v, mask=mask, feature_map=feature_map)
  return ridge.ridge_state(sums, strength).kv


def assert_close(actual, expected, tolerance=1e-5):
  scale = np.abs(expected).max()
  np.testing.assert_allclose(actual, expected, atol=tolerance * scale)


def test_the_state_is_the_ridge_regression(arrays):
  assert_close(computed(*arrays), solved(*arrays))


def test_every_gradient_is_that_of_the_definition(arrays):
  weight = np.random.default_rng(1).standard_normal((B, H, F, V))
  loss = lambda *arrays: (computed(*arrays) * weight.astype(np.float32)).sum()
  gradients = jax.grad(loss, argnums=(0, 1, 2))(*arrays)
  wide = [np.asarray(x, np.float64) for x in arrays]
  for i, gradient in enumerate(gradients):
    expected, step = np.zeros_like(wide[i]), 1e-5
    for at in np.ndindex(expected.shape):
      change = np.zeros_like(expected)
      change[at] = step
      above, below = (
          (solved(*wide[:i], wide[i] + c, *wide[i + 1 :]) * weight).sum()
          for c in (change, -change)
      )
      expected[at] = (above - below) / (2 * step)
    assert_close(gradient, expected)


@pytest.mark.skipif(
    jax.default_backend() != 'cpu',
    reason='programs of GPUs name other routines',
)
def test_the_backward_pass_uses_the_factor_of_the_forward_pass(arrays):
  loss = lambda *arrays: computed(*arrays).sum()
  gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
  program = gradient.lower(*arrays).compile().as_text()
  assert program.count('"lapack_spotrf') == 1
  assert program.count('"lapack_strsm') == 4  # two for each solve


def test_a_prefix_of_nothing_is_0_with_finite_gradients(arrays):
  nothing = np.zeros((B, P), bool)
  loss = lambda *arrays: (computed(*arrays, nothing) + 1).sum()
  assert not computed(*arrays, nothing).any()
  for gradient in jax.grad(loss, argnums=(0, 1, 2))(*arrays):
    assert np.isfinite(gradient).all()


@jax.jit
def read_by_the_first_key(k, v, strength):
  """What the first key reads, as a regression: the scale is taken away."""
  sums = ridge.prefix_sums(k, v, mask=np.ones(k.shape[:2], bool))
  mean = jnp.trace(sums.kk[0, 0]) / len(sums.kk[0, 0])
  kv = ridge.ridge_state(sums, strength).kv / mean
  phi = pallas_kernels.feature_maps.taylor_exp().features(k[0, 0, 0])
  return phi @ kv[0, 0]


@jax.jit
def gradients_of_the_first_key(*arrays):
  loss = lambda *arrays: read_by_the_first_key(*arrays).sum()
  return jax.grad(loss, argnums=(0, 1, 2))(*arrays)


@pytest.mark.parametrize('spread', [0.0, 1e-4], ids=['repeated', 'collinear'])
@pytest.mark.parametrize('size', [1, 1e3])
def test_equal_keys_hold_the_mean_of_their_values(spread, size):
  rng = np.random.default_rng(0)
  length, width, least = 512, 16, np.float32([1e-3])
  k = rng.standard_normal((1, 1, 1, width)) * size
  k = k + spread * size * rng.standard_normal((1, length, 1, width))
  k, v = np.float32(k), np.float32(rng.standard_normal((1, length, 1, V)) + 2)
  actual = read_by_the_first_key(k, v, least)
  np.testing.assert_allclose(actual, v.mean((0, 1, 2)), rtol=2e-2)
  for gradient in gradients_of_the_first_key(k, v, least):
    assert np.isfinite(gradient).all()


def test_a_large_strength_leaves_the_sum(arrays):
  k, v, _ = arrays
  actual = computed(k, v, np.float32([1e5, 1e5])) * 1e5
  expected = ridge.prefix_sums(k, v, mask=MASK).kv
  assert_close(actual, expected, 1e-3)


def test_sums_of_parts_add_up_in_any_order(arrays):
  k, v, strength = arrays
  parts = [ridge.prefix_sums(k[:, i], v[:, i]) for i in ([0, 1], [2, 3, 4])]
  for order in (parts, parts[::-1]):
    sums = jax.tree.map(jnp.add, *order)
    state = ridge.ridge_state(sums, strength)
    expected = solved(*arrays, np.broadcast_to(np.arange(P) < 5, (B, P)))
    assert_close(state.kv, expected)


def test_sums_of_bfloat16_are_float32(arrays):
  k, v, _ = (jnp.asarray(x, jnp.bfloat16) for x in arrays)
  sums = ridge.prefix_sums(k, v, mask=MASK, feature_map='identity')
  wide = [np.asarray(x, np.float32) for x in (k * MASK[..., None, None], v)]
  assert sums.kk.dtype == sums.kv.dtype == jnp.float32
  assert_close(sums.kv, np.einsum('bphf,bphv->bhfv', *wide), 1e-6)


def test_the_operation_starts_from_it(arrays):
  k, v, strength = arrays
  state = ridge.ridge_state(ridge.prefix_sums(k, v, mask=MASK), strength)
  q = np.random.default_rng(1).standard_normal(k.shape, np.float32)
  y = pallas_kernels.prefix_linear_attention(
      q, np.zeros_like(k), 0 * v, initial_state=state, normalizer='none'
  )
  expected = np.einsum('blhf,bhfv->blhv', features(q), solved(*arrays))
  assert_close(y, expected)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'k_enc': np.zeros((B, P, H), np.float32)}, '^k_enc must have'),
        ({'v_enc': np.zeros((B, 1, H, V), np.float32)}, '^v_enc must have'),
        ({'mask': np.zeros((B, P), np.int32)}, '^mask must be bool'),
        ({'feature_map': 'l2'}, '^feature_map must be one of'),
    ],
)
def test_sums_of_what_does_not_fit_are_refused(arrays, changes, message):
  arguments = {'k_enc': arrays[0], 'v_enc': arrays[1]} | changes
  with pytest.raises(ValueError, match=message):
    ridge.prefix_sums(**arguments)


def test_a_strength_for_other_heads_is_refused(arrays):
  sums = ridge.prefix_sums(*arrays[:2])
  with pytest.raises(ValueError, match=r'^strength must have shape \[2\]'):
    ridge.ridge_state(sums, np.float32([1, 1, 1]))
