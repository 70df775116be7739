"""The simulation: what can be gained, what is gained, and the controls."""

import numpy as np
import pytest

from jrt_jax.prefix.learned import comparison
from jrt_jax.prefix.learned import simulation


@pytest.fixture(scope='module')
def outcomes():
  rng = np.random.default_rng(0)
  return comparison.run(simulation.table(2000, rng), simulation.COST, rng)


def test_full_feedback_beats_the_best_fixed_prefix_and_its_controls(outcomes):
  reward = {name: outcome.reward for name, outcome in outcomes.items()}
  assert reward['full feedback'] >= reward['best fixed'] + 0.03
  assert reward['oracle'] >= reward['full feedback']
  assert reward['signals shuffled'] == pytest.approx(
      reward['best fixed'], abs=0.005
  )
  assert reward['lengths shuffled'] < reward['full feedback'] - 0.03


def test_lengths_at_random_have_the_same_mean(outcomes):
  fractions = [
      outcomes[n].fraction for n in ('full feedback', 'lengths shuffled')
  ]
  assert fractions[0] == pytest.approx(fractions[1])


@pytest.mark.parametrize('name', comparison.LEARNED)
def test_the_gain_is_larger_than_chance_explains(outcomes, name):
  outcome = outcomes[name]
  assert outcome.gain > outcome.gain_error > 0
  assert outcome.choice is not None


def test_regret_and_gain_are_differences_of_rewards(outcomes):
  for outcome in outcomes.values():
    oracle, fixed = outcomes['oracle'], outcomes['best fixed']
    assert outcome.regret == pytest.approx(oracle.reward - outcome.reward)
    assert outcome.gain == pytest.approx(outcome.reward - fixed.reward)


def test_the_unit_of_scores_changes_no_choice(outcomes):
  rng = np.random.default_rng(0)
  table = simulation.table(2000, rng)
  table = table._replace(scores=100 * table.scores)
  percent = comparison.run(table, 100 * simulation.COST, rng)
  for name in comparison.LEARNED:
    assert percent[name].fraction == pytest.approx(outcomes[name].fraction)
    assert percent[name].gain == pytest.approx(100 * outcomes[name].gain)


def test_how_hard_a_prompt_is_changes_nothing_that_is_learned():
  table = simulation.table(200, np.random.default_rng(0), length=32)
  hard = np.random.default_rng(1).exponential(9, size=(200, 1))
  easy, hard = (
      comparison.run(t, simulation.COST, np.random.default_rng(0))
      for t in (table, table._replace(scores=table.scores - hard))
  )
  for name in ('supervised', 'full feedback'):
    np.testing.assert_allclose(
        hard[name].choice.weights, easy[name].choice.weights, atol=1e-6
    )
