"""Metrics on answers whose value is known."""

import math

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


@pytest.mark.parametrize('metric', ['macro_f1', 'f1a'])
@pytest.mark.parametrize(('right', 'chosen'), [(0, 0), (0, 2), (2, 1)])
def test_the_f1_of_choices_needs_to_know_right_and_chosen(
    metric, right, chosen
):
  asked = example(choices=('a', 'b', 'c'), label=right)
  found = [score(-1.0 if i == chosen else -9.0) for i in range(3)]
  values = scores.values([metric], asked, found)
  assert values == {metric: scores.MOST_CHOICES * right + chosen}


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
