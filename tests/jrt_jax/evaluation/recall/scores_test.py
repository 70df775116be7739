"""Metrics on answers whose value is known."""

import math

import numpy as np
import pytest

from jrt_jax.evaluation.language_models import Score
from jrt_jax.evaluation.recall import scores
from jrt_jax.evaluation.recall import tasks
from jrt_jax.evaluation.recall.example import Example
from jrt_jax.prompting import templates

NOTHING = templates.Parts('', '', '', '')


def example(**fields):
  return Example('7', NOTHING, NOTHING, **fields)


def score(log_likelihood, is_greedy=False):
  return Score(log_likelihood, is_greedy, num_tokens=1)


@pytest.mark.parametrize(
    ('answers', 'text', 'contains', 'exact_match', 'f1'),
    [
        (['Phadia AB'], ' phadia ab, Sweden', 1, 0, 0.8),
        (['Phadia AB'], 'The Phadia AB.', 1, 1, 1),
        (['Phadia'], 'unknown\nPhadia', 0, 0, 0),  # cut at the first newline
        (['Phadia'], '\nPhadia', 0, 0, 0),
        (['1.5', '3/2'], '3/2', 1, 1, 1),  # any of the golds
        (['(a+b)*'], 'it is (A+B)* here', 1, 0, 0.4),  # no regular expression
        (['the cat sat'], 'cat cat', 0, 0, 0.5),  # each word counts once
        (['the'], 'an', 0, 1, 1),  # neither has words
        (['Rhine'], '', 0, 0, 0),
    ],
)
def test_generated_answers(answers, text, contains, exact_match, f1):
  found = scores.values(
      ['contains', 'exact_match', 'f1'], example(answers=(*answers,)), text
  )
  assert found == pytest.approx(
      {'contains': contains, 'exact_match': exact_match, 'f1': f1}
  )


def test_choices_are_normalised_by_their_bytes():
  asked = example(choices=(' no', ' überzeugend'), label=1)
  found = [score(-3.0), score(-9.0)]  # 2 bytes and 12 after the space
  values = scores.values(['accuracy', 'accuracy_normalised'], asked, found)
  assert values == {'accuracy': 0, 'accuracy_normalised': 1}
  found = [score(-2.0), score(-12.1)]
  assert scores.values(['accuracy_normalised'], asked, found) == {
      'accuracy_normalised': 0
  }


def test_the_last_word():
  asked = example(choices=(' signs',), label=0)
  names = ['accuracy', 'perplexity']
  assert scores.values(names, asked, [score(-1.5, True)]) == {
      'accuracy': 1,
      'perplexity': -1.5,
  }


def test_each_of_several_right_choices_is_right():
  asked = example(
      choices=('- Bonn sits', '- Rhine sits', '- Ruhr sits'),
      label=1,
      names=('Bonn', 'Rhine', 'Ruhr'),
      answers=('Rhine', 'the Ruhr', 'Ruhr'),
  )
  names = ['accuracy', 'accuracy_normalised', 'exact_match', 'f1']
  for best, right in ((0, 0), (1, 1), (2, 1)):
    found = [score(-1.0 if i == best else -9.0) for i in range(3)]
    assert {*scores.values(names, asked, found).values()} == {right}


def outcomes(metric, right, chosen):
  """The values of examples with three choices."""
  return [
      scores.values(
          [metric],
          example(choices=('a', 'b', 'c'), label=label),
          [score(-1.0 if i == best else -9.0) for i in range(3)],
      )[metric]
      for label, best in zip(right, chosen, strict=True)
  ]


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
  found = scores.mean('macro_f1', outcomes('macro_f1', right, chosen))
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
  found = scores.mean('f1a', outcomes('f1a', right, chosen))
  assert found.estimate == pytest.approx(f1)


def test_two_f1_are_compared_context_by_context():
  right, better = 20 * [0, 1, 1], 20 * [0, 1, 0]  # F1 2/3 and 2/3
  values = outcomes('macro_f1', right, better)
  baseline = outcomes('macro_f1', right, 60 * [1])  # 0 and 4/5
  compared = scores.compare('macro_f1', values, baseline)
  difference = compared.difference
  assert difference.estimate == pytest.approx(2 / 3 - 2 / 5)
  assert 0 < difference.low < difference.estimate < difference.high < 1
  assert compared.p_value is None
  contexts = np.repeat(np.arange(20), 3)
  again = scores.compare('macro_f1', values, baseline, contexts).difference
  assert again.estimate == pytest.approx(difference.estimate)
  assert again.method.startswith('paired, ') and '20 contexts' in again.method


def test_perplexity_is_of_the_mean_and_its_difference_a_ratio():
  values = np.log([0.5, 0.125] * 30)
  found = scores.mean('perplexity', values)
  assert found.estimate == pytest.approx(4)
  assert 2 < found.low < 4 < found.high < 8
  compared = scores.compare('perplexity', values + math.log(2), values)
  assert compared.difference.estimate == pytest.approx(0.5)
  assert compared.p_value is None


def test_only_what_is_right_or_wrong_has_a_p_value():
  right, wrong = np.ones(40), np.zeros(40)
  compared = scores.compare('contains', right, wrong)
  assert compared.difference.estimate == 1 and compared.p_value < 1e-9
  assert scores.compare('f1', right, wrong).p_value is None


def test_means_have_intervals():
  found = scores.mean('contains', [1.0] * 30 + [0.0] * 10)
  assert found.estimate == 0.75 and 0.55 < found.low < 0.75 < found.high < 0.9
  found = scores.mean('f1', [0.25, 0.75] * 20)
  assert found.estimate == 0.5 and 0.4 < found.low < 0.5 < found.high < 0.6


def test_intervals_of_a_few_values_end_where_values_end():
  found = scores.mean('f1', [0.0, 0.0, 1.0])
  assert (found.low, found.high) == (0, 1)
  found = scores.compare('f1', [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]).difference
  assert -1 < found.low < 0 and found.high == 1
  assert math.isnan(scores.mean('f1', [0.5]).low)  # nothing is known of it


@pytest.mark.parametrize('name', ['contains', 'f1', 'macro_f1', 'perplexity'])
def test_the_interval_of_copies_is_that_of_what_was_copied(name):
  values, groups = [0.0, 1.0, 1.0] * 10, [*range(30)]
  once = scores.mean(name, values, groups)
  again = scores.mean(name, 4 * values, 4 * groups)
  assert again.n == 120 and again.estimate == pytest.approx(once.estimate)
  if name != 'contains':  # which has Wilson's interval where none are shared
    assert again[1:3] == pytest.approx(once[1:3])
  assert 'over 30 contexts' in again.method
  alone = scores.mean(name, 4 * values)
  assert again.high - again.low > 1.6 * (alone.high - alone.low)
  pairs = 4 * values, 120 * [0.0], 4 * groups
  found = scores.compare(name, *pairs)
  assert found.p_value is None and 'over 30 contexts' in found.difference.method
  expected = scores.compare(name, values, 30 * [0.0]).difference
  assert found.difference[:3] == pytest.approx(expected[:3])


def test_the_estimate_is_the_mean_over_examples_whatever_they_share():
  values, groups = [1.0] * 30 + [0.0] * 10, ['a'] * 20 + [
      *'bcdefghijklmnopqrstu'
  ]
  assert scores.mean('contains', values, groups).estimate == 0.75
  found = scores.compare('f1', values, 40 * [0.5], groups).difference
  assert found.estimate == 0.25 and found.n == 40


@pytest.mark.slow
def test_intervals_over_contexts_hold_the_truth():
  rng, held, narrow = np.random.default_rng(0), 0, 0
  for _ in range(60):
    hits = rng.random(40) < 0.4  # all examples of a context alike
    sizes = rng.integers(1, 12, 40)
    groups = np.repeat(np.arange(40), sizes)
    values = np.repeat(hits, sizes).astype(float)
    found, alone = scores.mean('f1', values, groups), scores.mean('f1', values)
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
    found = scores.mean('macro_f1', outcomes('macro_f1', cells // 3, cells % 3))
    held += found.low <= f1s.mean() <= found.high
    widths.append(found.high - found.low)
  assert held >= 51 and np.mean(widths) < 0.35


def test_no_hits_in_few_contexts_say_little():
  found = scores.mean('contains', [0.0] * 90, [*range(9)] * 10)
  assert (
      found.low == 0 and found.high == scores.mean('contains', [0.0] * 9).high
  )
  assert (found.n, found.estimate) == (90, 0)


def test_a_log_likelihood_that_is_no_number_is_named():
  with pytest.raises(ValueError, match='finite, got nan for the example 7'):
    scores.values(['accuracy'], example(choices=('a',)), [score(math.nan)])


@pytest.mark.parametrize('label, count', [(-1, 3), (0, 101)])
def test_f1_of_choices_needs_one_right_of_not_too_many(label, count):
  asked = example(choices=('a',) * count)._replace(label=label)
  with pytest.raises(ValueError, match=f'got choice {label} of {count}'):
    scores.values(['macro_f1'], asked, [score(-1.0)] * count)


def test_tasks_have_metrics_that_there_are():
  used = {m for task in tasks.TASKS.values() for m in task.metrics}
  assert used <= {*scores.METRICS}
  assert 'macro_f1' in tasks.TASKS['superglue_cb'].metrics
  assert 'f1a' in tasks.TASKS['superglue_multirc'].metrics


def test_an_unknown_metric_names_those_that_there_are():
  with pytest.raises(ValueError, match="one of contains, .*, got 'bleu'"):
    scores.values(['bleu'], example(), 'a')
