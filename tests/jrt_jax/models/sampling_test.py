import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models.sampling import sample
from jrt_jax.models.sampling import Sampling

LOGITS = jnp.array([[0.0, 2.0, 1.0, 9.0], [1.0, 0.0, -1.0, 9.0]])
MANY = jnp.tile(LOGITS[:1], (20_000, 1))


def draw(seed=0, *, logits=LOGITS, num_ids=3, seen=None, **settings):
  keys = jax.random.split(jax.random.key(seed), len(logits))
  settings = Sampling(**{'temperature': 1.0, **settings})
  return sample(logits, keys, settings, num_ids=num_ids, seen=seen)


def frequencies(**settings):
  drawn = draw(logits=MANY, **settings)
  return np.bincount(drawn, minlength=3) / len(MANY)


def test_temperature_0_takes_the_likeliest_id_that_exists():
  np.testing.assert_array_equal(draw(temperature=0), [1, 0])
  np.testing.assert_array_equal(draw(temperature=0, num_ids=4), [3, 3])


@pytest.mark.parametrize(
    'settings', [{'temperature': 0}, {}, {'top_k': 3}, {'top_p': 0.99}]
)
def test_ids_that_the_tokenizer_lacks_are_never_drawn(settings):
  logits = jnp.tile(LOGITS.at[:, 3].set(1e9), (200, 1))
  assert (draw(logits=logits, **settings) < 3).all()


def test_draws_are_those_of_the_key():
  logits = jnp.tile(LOGITS, (50, 1))
  first, again, other = (draw(seed, logits=logits) for seed in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


@pytest.mark.parametrize('temperature', [0.5, 2.0])
def test_draws_follow_the_distribution_of_the_temperature(temperature):
  expected = jax.nn.softmax(LOGITS[0, :3] / temperature)
  actual = frequencies(temperature=temperature)
  np.testing.assert_allclose(actual, expected, atol=0.02)


# Of probabilities 0.09, 0.67, 0.24.
@pytest.mark.parametrize(
    ('settings', 'drawn'),
    [
        ({'top_k': 1}, [1]),
        ({'top_k': 2}, [1, 2]),
        ({'top_k': 9}, [0, 1, 2]),
        ({'top_p': 0.6}, [1]),
        ({'top_p': 0.7}, [1, 2]),
        ({'top_p': 0.95}, [0, 1, 2]),
        ({'top_k': 2, 'top_p': 0.95}, [1, 2]),
    ],
)
def test_only_the_likeliest_are_drawn_in_proportion(settings, drawn):
  expected = np.zeros(3)
  expected[drawn] = jax.nn.softmax(LOGITS[0, jnp.array(drawn)])
  np.testing.assert_allclose(frequencies(**settings), expected, atol=0.02)


def test_a_nucleus_ends_where_its_probability_is_reached():
  logits = jnp.tile(jnp.log(jnp.array([3.0, 1.0])), (200, 1))  # 3/4 and 1/4
  assert not draw(logits=logits, top_p=0.75).any()
  assert draw(logits=logits, top_p=0.76).any()


def test_what_has_occurred_becomes_less_likely():
  logits = jnp.array([[2.0, 1.5, -1.0], [-1.0, -1.5, -9.0]])
  seen = jnp.array([[True, False, False]] * 2)
  draw_with = lambda penalty: draw(
      logits=logits, seen=seen, temperature=0, repetition_penalty=penalty
  )
  np.testing.assert_array_equal(draw_with(1.0), [0, 0])
  np.testing.assert_array_equal(draw_with(2.0), [1, 1])


def test_draws_are_int32_of_any_temperature():
  for temperature in (0, 1.0):
    assert draw(temperature=temperature).dtype == jnp.int32


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'temperature': -1}, 'temperature must be at least 0, got -1'),
        ({'top_k': -1}, 'top_k must be at least 0, got -1'),
        ({'top_p': 0}, r'top_p must be in \(0, 1\], got 0'),
        ({'top_p': 1.5}, r'top_p must be in \(0, 1\], got 1.5'),
        ({'repetition_penalty': 0}, 'repetition_penalty must be positive'),
    ],
)
def test_impossible_settings_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    Sampling(**settings)
