import math

import numpy as np
import pytest

from jrt_jax.evaluation import statistics


def covered(truth, draw, trials=100):
  """How often the interval of drawn samples holds the truth."""
  held = 0
  for seed in range(trials):
    estimate = statistics.mean(draw(np.random.default_rng(seed)), seed=seed)
    held += estimate.low <= truth <= estimate.high
  return held / trials


def test_intervals_of_many_values_hold_the_truth_as_often_as_they_say():
  assert 0.88 <= covered(0.3, lambda rng: rng.random(60) < 0.3) <= 1


def test_intervals_of_five_seeds_hold_the_truth_as_often_as_they_say():
  assert 0.9 <= covered(2, lambda rng: rng.normal(2, 1, 5)) <= 1


def test_a_bootstrap_interval_is_that_of_the_normal_law_where_it_holds():
  values = np.random.default_rng(0).normal(5, 2, 2000)
  found = statistics.mean(values)
  half = 1.96 * values.std() / 2000**0.5
  assert found.estimate == pytest.approx(values.mean())
  assert found.low == pytest.approx(values.mean() - half, abs=0.01)
  assert found.high == pytest.approx(values.mean() + half, abs=0.01)


def test_the_same_seed_gives_the_same_interval_and_batches_do_not_matter(
    monkeypatch,
):
  values = np.random.default_rng(0).normal(size=50)
  first = statistics.mean(values, seed=3)
  monkeypatch.setattr(statistics, '_DRAWN_AT_ONCE', 50_000)
  assert statistics.mean(values, seed=3) == first
  assert statistics.mean(values, seed=4) != first


def test_the_method_follows_from_the_number_of_values_or_is_named():
  rng = np.random.default_rng(0)
  assert statistics.mean(rng.random(19)).method == "Student's interval"
  assert statistics.mean(rng.random(20)).method == 'percentile bootstrap'
  few = rng.random(5)
  narrow = statistics.mean(few, method='bootstrap')
  wide = statistics.mean(few, method='student')
  assert wide.low < narrow.low < narrow.high < wide.high


def test_pairs_tell_what_unpaired_scores_hide():
  rng = np.random.default_rng(0)
  difficulty = rng.normal(0, 10, 100)
  a = difficulty + 1 + rng.normal(0, 0.5, 100)
  found = statistics.paired_difference(a, difficulty)
  assert found.estimate == pytest.approx((a - difficulty).mean())
  assert found.excludes(0) and not found.excludes(1)
  assert not statistics.mean(a).excludes(0)


def test_degenerate_samples_do_not_pretend_to_know_their_spread():
  nothing = statistics.mean([])
  assert nothing.n == 0 and all(map(math.isnan, nothing[:3]))
  single = statistics.mean([0.7])
  assert single.estimate == 0.7 and math.isnan(single.low)
  assert not single.excludes(0)
  for size in (5, 50):
    equal = statistics.mean([0.1] * size)
    assert equal[:4] == (0.1, 0.1, 0.1, size)


def test_none_of_twenty_is_less_certain_than_none_of_two_thousand():
  few, many = (statistics.proportion([0] * n) for n in (20, 2000))
  assert few.estimate == many.estimate == 0
  assert few.high == pytest.approx(1.96**2 / (20 + 1.96**2), abs=1e-3)
  assert 0 < many.high < few.high
  assert math.isnan(statistics.proportion([]).estimate)


def test_an_estimate_has_the_same_words_in_percent():
  share = statistics.proportion([0, 1, 1, 1])
  percent = share.scaled(100)
  assert percent.estimate == 75 and percent[3:] == share[3:]
  assert percent.low == pytest.approx(100 * share.low)


def test_an_interval_does_not_reach_beyond_what_a_mean_can_be():
  values = [100, 100, 100, 90]
  assert statistics.mean(values).high > 100
  cut = statistics.mean(values, within=(0, 100))
  assert cut.high == 100 and cut.low == statistics.mean(values).low


def test_mcnemar_counts_only_examples_on_which_one_of_two_is_right():
  a = [1] * 8 + [0] * 1 + [1] * 50 + [0] * 30
  b = [0] * 8 + [1] * 1 + [1] * 50 + [0] * 30
  # Two tails of 9 throws of a coin with at most one head.
  assert statistics.mcnemar(a, b) == pytest.approx(2 * (1 + 9) / 2**9)
  assert statistics.mcnemar(a, a) == 1
  assert statistics.mcnemar([], []) == 1


def test_the_crossed_interval_is_wider_than_that_over_models_alone():
  rng = np.random.default_rng(0)
  tasks = rng.normal(10, 5, 6)
  gains = tasks + rng.normal(0, 1, (16, 6))
  found = statistics.crossed(gains)
  over_models = statistics.mean(gains.mean(axis=1))
  assert found.estimate == pytest.approx(over_models.estimate)
  assert found.high - found.low > 4 * (over_models.high - over_models.low)
  assert found.sd_over_models == pytest.approx(
      np.std(gains.mean(axis=1), ddof=1)
  )
  assert found.negative == (gains < 0).sum()
  assert found == statistics.crossed(gains)


def test_one_model_or_one_task_has_no_crossed_interval():
  for gains in (np.ones((1, 6)), np.ones((6, 1))):
    found = statistics.crossed(gains)
    assert found.estimate == 1
    assert math.isnan(found.low) and math.isnan(found.high)
  assert math.isnan(statistics.crossed(np.ones((0, 6))).estimate)
  assert statistics.crossed(np.ones((2, 2)))[:3] == (1, 1, 1)


@pytest.mark.parametrize(
    'call, problem',
    [
        (lambda: statistics.mean([1, math.nan]), 'values must be finite'),
        (lambda: statistics.mean([[1]]), 'with 1 axes, got 2'),
        (lambda: statistics.mean([1], method='t'), "method='t' must be one"),
        (lambda: statistics.paired_difference([1], [1, 2]), 'of one length'),
        (lambda: statistics.mcnemar([1, 0.5], [1, 1]), 'a must be 0 or 1'),
        (lambda: statistics.proportion([2]), 'hits must be 0 or 1'),
        (lambda: statistics.crossed([1, 2]), 'gains must be finite'),
    ],
)
def test_mistakes_are_named(call, problem):
  with pytest.raises(ValueError, match=problem):
    call()
