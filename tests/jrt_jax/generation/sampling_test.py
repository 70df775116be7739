import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.generation.sampling import sample

LOGITS = jnp.array([[0.0, 2.0, 1.0, 9.0], [1.0, 0.0, -1.0, 9.0]])


def draw(seed=0, *, logits=LOGITS, temperature=1.0, num_ids=3):
  key = jax.random.key(seed)
  return sample(logits, key, temperature=temperature, num_ids=num_ids)


def test_temperature_0_takes_the_likeliest_id_that_exists():
  np.testing.assert_array_equal(draw(temperature=0), [1, 0])
  np.testing.assert_array_equal(draw(temperature=0, num_ids=4), [3, 3])


@pytest.mark.parametrize('temperature', [0, 0.5, 1.0])
def test_ids_that_the_tokenizer_lacks_are_never_drawn(temperature):
  logits = jnp.tile(LOGITS.at[:, 3].set(1e9), (200, 1))
  assert (draw(logits=logits, temperature=temperature) < 3).all()


def test_draws_are_those_of_the_key():
  logits = jnp.tile(LOGITS, (50, 1))
  first, again, other = (draw(seed, logits=logits) for seed in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


@pytest.mark.parametrize('temperature', [0.5, 2.0])
def test_draws_follow_the_distribution_of_the_temperature(temperature):
  logits = jnp.tile(LOGITS[:1], (20_000, 1))
  drawn = draw(logits=logits, temperature=temperature)
  frequency = np.bincount(drawn, minlength=3) / len(logits)
  expected = jax.nn.softmax(LOGITS[0, :3] / temperature)
  np.testing.assert_allclose(frequency, expected, atol=0.02)


def test_draws_are_int32_of_any_temperature():
  for temperature in (0, 1.0):
    assert draw(temperature=temperature).dtype == jnp.int32
