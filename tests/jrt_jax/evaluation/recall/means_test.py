"""Means and differences whose value is known, and what intervals hold."""

import math

import numpy as np
import pytest

from jrt_jax.evaluation.recall import means
from jrt_jax.evaluation.recall import scores


def outcomes(right, chosen):
  """The values of a metric that is the F1 of choices."""
  return scores.MOST_CHOICES * np.array(right) + chosen


@pytest.mark.parametrize(
    ('right', 'chosen', 'f1s'),
    [
        ([0, 0, 1, 1, 2], [0, 1, 1, 1, 0], [2 / 4, 4 / 5, 0]),
        ([0, 1, 2], [0, 1, 2], [1, 1, 1]),
        ([0, 1, 2], [1, 2, 0], [0, 0, 0]),
        ([0, 0, 1, 1], [0, 0, 0, 0], [4 / 6, 0]),  # the third does not occur
        ([0, 0, 1, 1], [0, 2, 1, 1], [2 / 3, 1, 0]),  # it was chosen
    ],
)
def test_macro_f1_is_the_mean_over_the_choices_that_occur(right, chosen, f1s):
  found = means.mean('macro_f1', outcomes(right, chosen))
  assert found.estimate == pytest.approx(np.mean(f1s)) and found.n == len(right)


@pytest.mark.parametrize(
    ('right', 'chosen', 'f1'),
    [
        ([1, 1, 1, 0, 0], [1, 1, 0, 1, 0], 4 / 6),
        ([1, 0, 0, 0], [0, 0, 0, 0], 0),  # of which 3 of 4 are right
        ([0, 0], [0, 0], 0),  # nothing was to be found
        ([1, 1], [1, 1], 1),
    ],
)
def test_f1a_is_of_the_answers_that_are_right(right, chosen, f1):
  found = means.mean('f1a', outcomes(right, chosen))
  assert found.estimate == pytest.approx(f1)


def test_two_f1_are_compared_context_by_context():
  right, better = 20 * [0, 1, 1], 20 * [0, 1, 0]  # F1 2/3 and 2/3
  values = outcomes(right, better)
  baseline = outcomes(right, 60 * [1])  # 0 and 4/5
  compared = means.compare('macro_f1', values, baseline)
  difference = compared.difference
  assert difference.estimate == pytest.approx(2 / 3 - 2 / 5)
  assert 0 < difference.low < difference.estimate < difference.high < 1
  assert compared.p_value is None
  contexts = np.repeat(np.arange(20), 3)
  again = means.compare('macro_f1', values, baseline, contexts).difference
  assert again.estimate == pytest.approx(difference.estimate)
  assert again.method.startswith('paired, ') and '20 contexts' in again.method


def test_perplexity_is_of_the_mean_and_its_difference_a_ratio():
  values = np.log([0.5, 0.125] * 30)
  found = means.mean('perplexity', values)
  assert found.estimate == pytest.approx(4)
  assert 2 < found.low < 4 < found.high < 8
  compared = means.compare('perplexity', values + math.log(2), values)
  assert compared.difference.estimate == pytest.approx(0.5)
  assert compared.p_value is None


def test_only_what_is_right_or_wrong_has_a_p_value():
  right, wrong = np.ones(40), np.zeros(40)
  compared = means.compare('contains', right, wrong)
  assert compared.difference.estimate == 1 and compared.p_value < 1e-9
  assert means.compare('f1', right, wrong).p_value is None


def test_means_have_intervals():
  found = means.mean('contains', [1.0] * 30 + [0.0] * 10)
  assert found.estimate == 0.75 and 0.55 < found.low < 0.75 < found.high < 0.9
  found = means.mean('f1', [0.25, 0.75] * 20)
  assert found.estimate == 0.5 and 0.4 < found.low < 0.5 < found.high < 0.6


def test_intervals_of_a_few_values_end_where_values_end():
  found = means.mean('f1', [0.0, 0.0, 1.0])
  assert (found.low, found.high) == (0, 1)
  found = means.compare('f1', [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]).difference
  assert -1 < found.low < 0 and found.high == 1
  assert math.isnan(means.mean('f1', [0.5]).low)  # nothing is known of it


@pytest.mark.parametrize('name', ['contains', 'f1', 'macro_f1', 'perplexity'])
def test_the_interval_of_copies_is_that_of_what_was_copied(name):
  values, groups = [0.0, 1.0, 1.0] * 10, [*range(30)]
  once = means.mean(name, values, groups)
  again = means.mean(name, 4 * values, 4 * groups)
  assert again.n == 120 and again.estimate == pytest.approx(once.estimate)
  if name != 'contains':  # which has Wilson's interval where none are shared
    assert again[1:3] == pytest.approx(once[1:3])
  assert 'over 30 contexts' in again.method
  alone = means.mean(name, 4 * values)
  assert again.high - again.low > 1.6 * (alone.high - alone.low)
  pairs = 4 * values, 120 * [0.0], 4 * groups
  found = means.compare(name, *pairs)
  assert found.p_value is None and 'over 30 contexts' in found.difference.method
  expected = means.compare(name, values, 30 * [0.0]).difference
  assert found.difference[:3] == pytest.approx(expected[:3])


def test_the_estimate_is_the_mean_over_examples_whatever_they_share():
  values, groups = [1.0] * 30 + [0.0] * 10, ['a'] * 20 + [
      *'bcdefghijklmnopqrstu'
  ]
  assert means.mean('contains', values, groups).estimate == 0.75
  found = means.compare('f1', values, 40 * [0.5], groups).difference
  assert found.estimate == 0.25 and found.n == 40


@pytest.mark.slow
def test_intervals_over_contexts_hold_the_truth():
  rng, held, narrow = np.random.default_rng(0), 0, 0
  for _ in range(60):
    hits = rng.random(40) < 0.4  # all examples of a context alike
    sizes = rng.integers(1, 12, 40)
    groups = np.repeat(np.arange(40), sizes)
    values = np.repeat(hits, sizes).astype(float)
    found, alone = means.mean('f1', values, groups), means.mean('f1', values)
    held += found.low <= 0.4 <= found.high
    narrow += alone.low <= 0.4 <= alone.high
  assert held >= 51 and narrow < 45


@pytest.mark.slow
def test_intervals_of_f1_hold_the_truth():
  rng, held, widths = np.random.default_rng(0), 0, []
  # Of all examples, by [right, chosen].
  shares = np.array([[0.3, 0.1, 0], [0.1, 0.3, 0], [0.05, 0.05, 0.1]])
  f1s = 2 * np.diag(shares) / (shares.sum(0) + shares.sum(1))
  for _ in range(60):
    cells = rng.choice(9, 60, p=shares.ravel())
    found = means.mean('macro_f1', outcomes(cells // 3, cells % 3))
    held += found.low <= f1s.mean() <= found.high
    widths.append(found.high - found.low)
  assert held >= 51 and np.mean(widths) < 0.35


def test_no_hits_in_few_contexts_say_little():
  found = means.mean('contains', [0.0] * 90, [*range(9)] * 10)
  assert found.low == 0 and found.high == means.mean('contains', [0.0] * 9).high
  assert (found.n, found.estimate) == (90, 0)
