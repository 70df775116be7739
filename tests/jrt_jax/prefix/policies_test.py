import numpy as np
import pytest

from jrt_jax.prefix import policies

TOKENS = np.arange(10, dtype=np.int32)


def draw(name, capacity, tokens=TOKENS, seed=0):
  rng = np.random.default_rng(seed)
  return policies.PREFIX_POLICIES[name](tokens, capacity=capacity, rng=rng)


@pytest.mark.parametrize(
    ('name', 'expected'), [('none', 0), ('full', 10), ('fixed', 4)]
)
def test_policies_without_chance_give_one_length(name, expected):
  assert draw(name, capacity=4) == expected


@pytest.mark.parametrize('name', policies.PREFIX_POLICIES)
def test_a_prefix_is_never_longer_than_its_example(name):
  lengths = {draw(name, 4, tokens=TOKENS[:3], seed=s) for s in range(50)}
  assert lengths <= {0, 1, 2, 3}


def test_uniform_lengths_are_equally_frequent_with_both_ends():
  rng = np.random.default_rng(0)
  lengths = [policies.uniform(TOKENS, capacity=4, rng=rng) for _ in range(5000)]
  counts = np.bincount(lengths)
  assert len(counts) == 5
  np.testing.assert_allclose(counts / 5000, 0.2, atol=0.03)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [('none', 0), ('full', 15), ('fixed', 7), ('uniform', 7)],
)
def test_the_capacity_is_a_fraction_of_the_sequence(name, expected):
  prefix = {'name': name, 'capacity': 0.5}
  assert policies.prefix_capacity(prefix, 15) == expected


@pytest.mark.parametrize('name', policies.PREFIX_POLICIES)
def test_the_mean_prefix_is_that_of_many_draws(name):
  prefix = {'name': name, 'capacity': 0.5}
  policy, rng = policies.PREFIX_POLICIES[name], np.random.default_rng(0)
  capacity = policies.prefix_capacity(prefix, 20)
  draws = [
      policy(np.arange(20), capacity=capacity, rng=rng) for _ in range(999)
  ]
  assert policies.mean_prefix(prefix, 20) == pytest.approx(
      np.mean(draws), abs=0.4
  )


@pytest.mark.parametrize('capacity', [-0.1, 1.5, float('nan')])
def test_a_capacity_that_is_no_fraction_is_refused(capacity):
  prefix = {'name': 'fixed', 'capacity': capacity}
  with pytest.raises(ValueError, match=r'config.prefix.capacity .* \[0, 1\]'):
    policies.prefix_capacity(prefix, 10)


def test_an_unknown_policy_is_refused_with_the_known_ones():
  prefix = {'name': 'fixd', 'capacity': 0.5}
  with pytest.raises(
      ValueError, match="none, full, fixed, uniform, got 'fixd'"
  ):
    policies.prefix_capacity(prefix, 10)
