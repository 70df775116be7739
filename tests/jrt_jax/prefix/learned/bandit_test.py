import numpy as np
import pytest

from jrt_jax.prefix.learned import bandit

FRACTIONS = (0.0, 0.5, 1.0)


def solvable(num_prompts=300):
  """Prompts of two kinds, told apart by one feature; rewards of each."""
  rng = np.random.default_rng(0)
  kind = rng.integers(2, size=num_prompts)
  x = np.stack([2.0 * kind - 1, np.ones(num_prompts)], axis=1)
  return x, np.array([[0.6, 0.5, 0.1], [0.0, 0.5, 0.9]])[kind]


def learn(method, x, rewards):
  rng = (np.random.default_rng(0),) if method is bandit.reinforce else ()
  weights = method(x, rewards, *rng)
  return (x @ weights).argmax(axis=1)


METHODS = [bandit.supervised, bandit.full_feedback, bandit.reinforce]


@pytest.mark.parametrize('method', METHODS)
def test_every_way_of_learning_finds_what_the_feature_tells(method):
  x, rewards = solvable(3000 if method is bandit.reinforce else 300)
  actions = learn(method, x, rewards)
  np.testing.assert_array_equal(actions, rewards.argmax(axis=1))


@pytest.mark.parametrize('method', METHODS)
def test_without_a_feature_one_fraction_is_chosen_for_all(method):
  x, rewards = solvable()
  assert len(set(learn(method, 0 * x + [0, 1], rewards))) == 1


def test_of_two_equal_prefixes_the_shorter_is_imitated():
  x, _ = solvable()
  rewards = np.tile([0.2, 0.7, 0.7], (len(x), 1))
  assert set(learn(bandit.supervised, x, rewards)) == {1}
