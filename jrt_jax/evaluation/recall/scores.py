"""Metrics of answers: a value for each example.

Only the first line of a generated text counts, as in the released evaluations.
"""

import collections
from collections.abc import Callable, Sequence
import math
import re
import string
from typing import NamedTuple

from jrt_jax.evaluation import language_models
from jrt_jax.evaluation.recall.example import Example

MOST_CHOICES = 100  # for metrics that are the F1 of choices

# A generated text, or the scores of the choices.
Answer = str | Sequence[language_models.Score]


class Metric(NamedTuple):
  """A metric.

  Attributes:
    about: one line about what it measures.
    value: a function from an example and an answer to a value.
    binary: whether values are 0 or 1, so that McNemar's test applies.
    is_perplexity: whether values are log-likelihoods: their mean is shown as a
      perplexity, and their differences as ratios of perplexities.
    f1_of: the choices whose F1 scores are averaged, if they occur (0 if none
      occurs); a value then encodes the right choice and the chosen one.
  """

  about: str
  value: Callable[[Example, Answer], float]
  binary: bool = True
  is_perplexity: bool = False
  f1_of: Sequence[int] = ()


def first_line(text: str) -> str:
  """Returns the answer in a generated text: its first line."""
  return text.partition('\n')[0]


def contains(answer: str, text: str) -> bool:
  """Whether a text contains an answer, ignoring case.

  Source: `contains_score` of https://github.com/HazyResearch/prefix-linear-
  attention, which scores FDA, SWDE and SQuAD.
  """
  return answer.lower() in text.lower()


def normalised(text: str) -> list[str]:
  """Returns the words of an answer, without case, punctuation and articles.

  Source: the official evaluation of SQuAD (Rajpurkar et al. 2016).
  """
  text = text.lower().translate(_NO_PUNCTUATION)
  return re.sub(r'\b(a|an|the)\b', ' ', text).split()


def overlap(answer: str, text: str) -> float:
  """Returns the F1 score of the words that a text shares with an answer.

  If one of them has no words, the score is 1 if the other has none either.

  Source: the official evaluation of SQuAD 2.0 (Rajpurkar et al. 2018).
  """
  wanted, found = normalised(answer), normalised(text)
  if not (wanted and found):
    return float(wanted == found)
  shared = (collections.Counter(wanted) & collections.Counter(found)).total()
  return 2 * shared / (len(wanted) + len(found))


def values(
    metrics: Sequence[str], example: Example, answer: Answer
) -> dict[str, float]:
  """Returns the value of an example, by metric.

  Raises:
    ValueError: a metric is unknown, or a log-likelihood is not finite. A single
      -inf therefore ends the whole task: there would be no mean.
  """
  if not isinstance(answer, str):
    for score in answer:
      if not math.isfinite(score.log_likelihood):
        raise ValueError(
            f'log-likelihoods must be finite, got {score.log_likelihood} for'
            f' the example {example.id}'
        )
  return {name: float(find(name).value(example, answer)) for name in metrics}


def find(name: str) -> Metric:
  """Returns the metric of this name; raises ValueError if there is none."""
  if name not in METRICS:
    raise ValueError(
        f'metric must be one of {", ".join(METRICS)}, got {name!r}'
    )
  return METRICS[name]


def _any_answer(same):
  """A value: the maximum of `same` over the gold answers."""

  def value(example, answer):
    if isinstance(answer, str):
      text = first_line(answer)
    else:
      text = example.names[_likeliest(example, answer)]
    return max((same(gold, text) for gold in example.answers), default=0)

  return value


def _accuracy(example, scores):
  if len(example.choices) == 1:
    return scores[0].is_greedy
  return _is_right(example, _likeliest(example, scores))


def _accuracy_normalised(example, scores):
  sizes = [max(1, len(choice.strip().encode())) for choice in example.choices]
  return _is_right(example, _likeliest(example, scores, sizes))


def _outcome(example, scores):
  """Encodes the right choice and the likeliest one as one number."""
  if not 0 <= example.label < len(example.choices) <= MOST_CHOICES:
    raise ValueError(
        f'for the F1 of choices the example {example.id} must have one right of at'
        f' most {MOST_CHOICES}, got choice {example.label} of'
        f' {len(example.choices)}'
    )
  return MOST_CHOICES * example.label + _likeliest(example, scores)


def _is_right(example, i):
  if example.names:  # several choices may be right
    return example.names[i] in example.answers
  return i == example.label


def _likeliest(example, scores, sizes=None):
  """The index of the choice that is likeliest for its size; ties: the first."""
  sizes = sizes or [1] * len(example.choices)
  found = [x.log_likelihood / n for x, n in zip(scores, sizes, strict=True)]
  return found.index(max(found))


_NO_PUNCTUATION = str.maketrans('', '', string.punctuation)

METRICS = {
    'contains': Metric(
        'the first line contains a gold answer', _any_answer(contains)
    ),
    'exact_match': Metric(
        'the first line is a gold answer, normalised as for SQuAD',
        _any_answer(lambda a, text: normalised(a) == normalised(text)),
    ),
    'f1': Metric(
        'F1 of the words that the first line shares with a gold answer',
        _any_answer(overlap),
        binary=False,
    ),
    'accuracy': Metric(
        'the right choice is the likeliest; a single choice must have the'
        ' likeliest tokens',
        _accuracy,
    ),
    'accuracy_normalised': Metric(
        'the right choice has the highest log-likelihood per byte',
        _accuracy_normalised,
    ),
    'macro_f1': Metric(
        'mean of the F1 scores of the choices, as SuperGLUE scores CB',
        _outcome,
        binary=False,
        f1_of=range(MOST_CHOICES),
    ),
    'f1a': Metric(
        'F1 of the second choice (yes) over all offered answers, as SuperGLUE'
        ' scores MultiRC',
        _outcome,
        binary=False,
        f1_of=(1,),
    ),
    'perplexity': Metric(
        'of the only choice: exp of the mean of its negative log-likelihood',
        lambda example, scores: scores[0].log_likelihood,
        binary=False,
        is_perplexity=True,
    ),
    'token_perplexity': Metric(
        'of the tokens of the only choice: exp of the mean, over examples, of'
        ' the negative log-likelihood per token',
        lambda example, scores: scores[0].log_likelihood / scores[0].num_tokens,
        binary=False,
        is_perplexity=True,
    ),
}
