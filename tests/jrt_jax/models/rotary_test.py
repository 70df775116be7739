import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models.rotary import rotary

BASE = 10_000.0


def make(seed, D=8):
  return jax.random.normal(jax.random.key(seed), (1, D))


@jax.jit
def rotate(x, positions):
  return rotary(x, jnp.asarray(positions), base=BASE)


def test_pairs_half_a_head_apart_turn_as_complex_numbers():
  x, position = np.asarray(make(0)), 7
  pairs = x[:, :4] + 1j * x[:, 4:]
  turned = pairs * np.exp(1j * position * BASE ** (-np.arange(4) / 4))
  expected = np.concatenate([turned.real, turned.imag], axis=-1)
  np.testing.assert_allclose(rotate(x, position), expected, atol=1e-5)


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
