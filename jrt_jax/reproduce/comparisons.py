"""Compares models that were asked the same examples.

Runs that differ only in their seeds count as one model; its value for an
example is the mean over these runs. Intervals are over contexts: they show how
certain a difference is for other texts, but not for other seeds.
"""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import NamedTuple

import numpy as np

from jrt_jax.evaluation import statistics
from jrt_jax.evaluation.recall import means
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import measured
from jrt_jax.reproduce import recall_results

FLOOR = 5.0  # % right: a task is not compared unless a model has this much

# Measures of answers: the words of a caption, and the unit of gains.
MEASURES = {
    'right': ('answers that contain the gold answer, %', 'points'),
    'likely': ('loss per token of the gold answer, nats', 'nats per token'),
}

_GRADED = 'f1'  # a metric of values between 0 and 1, as means of seeds are


class Score(NamedTuple):
  """The score of models of one kind."""

  value: statistics.Estimate  # percent, or nats
  asked: Sequence[recall_results.Asked]  # one for each seed


Scores = Mapping[str, Mapping[str, Score]]  # by row, and column
Chosen = Callable[[recall_results.Asked], bool]


def kind(asked: recall_results.Asked) -> str:
  """Returns the kind of the model, see `measured.kind`."""
  return measured.kind(asked.run.get('mixers', ()), asked.model)


def label(asked: recall_results.Asked) -> str:
  """Returns the task, with the number of tokens to which contexts are cut."""
  tokens = asked.settings.get('context_tokens')
  return asked.task if tokens is None else f'{asked.task}, {tokens} tokens'


def is_plain(prompt: str) -> Chosen:
  """Returns a filter for answers to a kind of prompt, read by default rules."""
  return lambda x: x.prompt == prompt and not (
      x.settings.get('long_prompt') or x.settings.get('short_prompt')
  )


def by_measure(
    results: exhibit.Results,
    chosen: Chosen,
    column: Callable[[recall_results.Asked], str] = kind,
) -> dict[str, Scores]:
  """Returns the scores by measure, a key of MEASURES.

  Args:
    results: results of jobs of `recall_results`.
    chosen: a filter of answers. Chosen answers with the same label and column
      must be from runs that differ only in their seeds.
    column: a function from answers to the column in which they are compared.

  Raises:
    ValueError: such runs differ otherwise, or were asked other examples.
  """
  runs = {}
  for x in filter(chosen, recall_results.asked(results)):
    rows = runs.setdefault('right' if x.is_share else 'likely', {})
    rows.setdefault(label(x), {}).setdefault(column(x), []).append(x)
  return {
      measure: {
          row: {name: score(same) for name, same in columns.items()}
          for row, columns in rows.items()
      }
      for measure, rows in runs.items()
  }


def columns(scores: Scores) -> list[str]:
  """Returns the columns of all rows, in order of appearance."""
  return [*dict.fromkeys(name for found in scores.values() for name in found)]


def values(
    scores: Scores, names: Sequence[str]
) -> dict[str, list[exhibit.Cell]]:
  """Returns a row of values for each row of scores."""
  return {
      row: [found[x].value if x in found else None for x in names]
      for row, found in scores.items()
  }


def gain_table(
    scores: Scores,
    measure: str,
    words: Mapping[str, str],
    over: str,
    caption: str,
) -> exhibit.Table:
  """Returns a table of the gains of columns over one of them.

  Args:
    scores: scores by row and column.
    measure: their measure, a key of MEASURES.
    words: the columns to show, with their names.
    over: the column with which they are compared.
    caption: the caption; the unit is added to it.
  """
  unit = MEASURES[measure][1]
  by_column = {name: gains(scores, name, over) for name in words}
  return exhibit.Table(
      [*words.values()],
      {row: [found.get(row) for found in by_column.values()] for row in scores},
      caption=f'{caption}, {unit}',
      drawn=[*words.values()],
      unit=f'{unit} gained',
      marks={'no gain': 0},
      digits=digits(measure),
  )


def is_above_floor(measure: str, scores: Scores) -> bool:
  """Whether scores can be compared: they are losses, or one reaches FLOOR."""
  return measure == 'likely' or any(_best(x) >= FLOOR for x in scores.values())


def digits(measure: str) -> int:
  """Returns the number of digits to show for a measure."""
  return 1 if measure == 'right' else 3


def gains(scores: Scores, a: str, b: str) -> dict[str, statistics.Estimate]:
  """Returns the gains of column a over b, for rows that have both."""
  return {
      row: gain(found[a], found[b])
      for row, found in scores.items()
      if found.keys() >= {a, b}
  }


def score(runs: Sequence[recall_results.Asked]) -> Score:
  """Returns the mean score of runs, in percent or nats.

  Raises:
    ValueError: the runs were not asked the same examples.
  """
  first = runs[0]
  for other in runs[1:]:
    _check_same(first, other)
    but_seed, seed = (
        [x.run.get(key) for x in (first, other)] for key in ('but_seed', 'seed')
    )
    if but_seed[0] != but_seed[1] or seed[0] == seed[1]:
      raise ValueError(
          '--results must have models of one kind that differ in their seeds'
          f' alone, got {first.model} and {other.model} on {label(first)}'
      )
  metric = first.metric
  if len(runs) > 1 and first.is_share:
    metric = _GRADED
  found = means.mean(metric, _values(runs), first.contexts)
  return Score(found.scaled(100) if first.is_share else _log(found), runs)


def gain(a: Score, b: Score) -> statistics.Estimate:
  """Returns the gain of models over others in points, or for losses in nats.

  A positive gain is better: it is a higher score or a lower loss.

  Raises:
    ValueError: the models were not asked the same examples.
  """
  first = a.asked[0]
  _check_same(first, b.asked[0])
  values = (_values(x.asked) for x in (a, b))
  metric = _GRADED if first.is_share else first.metric
  found = means.compare(metric, *values, groups=first.contexts).difference
  if first.is_share:
    return found.scaled(100)
  nats = _log(found)  # from the ratio of perplexities
  low, high = -nats.high, -nats.low
  return nats._replace(estimate=-nats.estimate, low=low, high=high)


def verdict(
    measures: Mapping[str, Scores], a: str, b: str, words: str
) -> exhibit.Verdict:
  """Returns whether one column is better than another.

  The verdict uses tasks on which a column reaches FLOOR; if there are none, it
  uses the log-likelihoods of gold answers. The claim holds if the intervals of
  all gains are above 0, and in part if some are. It fails if none is above and
  some are below 0. Otherwise it is not decided.

  Args:
    measures: the result of `by_measure`.
    a, b: columns.
    words: the start of the sentence.
  """
  right = measures.get('right', {})
  above = {row: x for row, x in right.items() if _best(x) >= FLOOR}
  found, measure = gains(above, a, b), 'right'
  if not found:
    found, measure = gains(measures.get('likely', {}), a, b), 'likely'
    if right and not above:
      words = f'No model has {FLOOR:g} % of any task right. {words}'
  if not found:
    return exhibit.Verdict('void', f'{words}: nothing was measured.')
  up = [x for x in found.values() if x.low > 0]
  down = [x for x in found.values() if x.high < 0]
  told = '; '.join(
      f'{row}: {exhibit.text(x, digits(measure))}' for row, x in found.items()
  )
  sentence = f'{words}, in {MEASURES[measure][1]}: {told}.'
  if up:
    whole = len(up) == len(found)
    return exhibit.Verdict('holds' if whole else 'partly', sentence)
  return exhibit.Verdict('fails' if down else 'open', sentence)


def _best(found):
  return max(x.value.estimate for x in found.values())


def _check_same(first, second):
  if first.digest != second.digest:
    raise ValueError(
        f'{first.model} and {second.model} must have been asked the same'
        f' examples of {first.task}'
    )


def _log(found):
  estimate, low, high = map(math.log, found[:3])
  return found._replace(estimate=estimate, low=low, high=high)


def _values(runs):
  return np.mean([x.values for x in runs], axis=0)
