import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models.rotary import rotary

BASE = 10_000.0


def make(seed, D=8):
  return jax.random.normal(jax.random.key(seed), (1, D))


@functools.partial(jax.jit, static_argnames='fraction')
def rotate(x, positions, fraction=1.0):
  return rotary(x, jnp.asarray(positions), base=BASE, fraction=fraction)


def test_pairs_half_a_head_apart_turn_as_complex_numbers():
  x, position = np.asarray(make(0)), 7
  pairs = x[:, :4] + 1j * x[:, 4:]
  turned = pairs * np.exp(1j * position * BASE ** (-np.arange(4) / 4))
  expected = np.concatenate([turned.real, turned.imag], axis=-1)
  np.testing.assert_allclose(rotate(x, position), expected, atol=1e-5)


@pytest.mark.parametrize(
    'D, fraction, rotated, pairs',
    [
        (70, 1.0, 70, 35),
        (64, 0.5, 32, 16),
        (70, 0.5, 35, 18),  # an odd half: a pair more, angles by 35
        (8, 0.0, 0, 0),
    ],
)
def test_a_fraction_turns_the_first_features_only(D, fraction, rotated, pairs):
  x, position = np.asarray(make(0, D)), 7
  expected = x.copy()
  for i in range(pairs):
    angle = position * BASE ** (-2 * i / rotated)
    turned = complex(x[0, i], x[0, i + pairs]) * np.exp(1j * angle)
    expected[0, [i, i + pairs]] = turned.real, turned.imag
  actual = rotate(x, position, fraction=fraction)
  np.testing.assert_allclose(actual, expected, atol=1e-5)
  np.testing.assert_array_equal(actual[:, 2 * pairs :], x[:, 2 * pairs :])


@pytest.mark.parametrize('shift', [1, 5, 1000])
def test_scores_depend_on_the_distance_only(shift):
  q, k = make(0), make(1)
  score = lambda i, j: float((rotate(q, i) * rotate(k, j)).sum())
  assert score(9 + shift, 4 + shift) == pytest.approx(score(9, 4), abs=1e-3)
  assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-2)


def test_position_0_turns_nothing():
  np.testing.assert_array_equal(rotate(make(0), 0), make(0))


def test_each_token_turns_by_its_own_position():
  x = jax.random.normal(jax.random.key(0), (2, 3, 2, 8))
  positions = jnp.array([[0, 1, 2], [5, 0, 1]])
  actual = rotate(x, positions)
  for b, i in np.ndindex(2, 3):
    alone = rotate(x[b, i], positions[b, i])
    np.testing.assert_allclose(actual[b, i], alone, rtol=1e-5, atol=1e-6)


def test_angles_of_far_positions_stay_float32_for_bfloat16_inputs():
  x = make(0).astype(jnp.bfloat16)
  far = rotate(x, 30_001)
  assert far.dtype == jnp.bfloat16
  exact = rotate(x.astype(jnp.float32), 30_001)
  np.testing.assert_allclose(far.astype(jnp.float32), exact, rtol=0.01)
