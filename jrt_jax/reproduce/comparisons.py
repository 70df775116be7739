"""Models that were asked the same examples, beside each other.

Runs that differ in their seeds alone count as one model, whose value of an
example is the mean of theirs. Intervals are over contexts: they say how sure a
difference of these models is on other texts, not of other seeds.
"""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import NamedTuple

import numpy as np

from jrt_jax.evaluation import statistics
from jrt_jax.evaluation.recall import scores
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import measured
from jrt_jax.reproduce import recall_results

FLOOR = 5.0  # % right: where no model has more, the task shows nothing

# What tells how good answers are: the words of a caption, and the unit of gains.
MEASURES = {
    'right': ('answers that hold the gold one, %', 'points'),
    'likely': ('loss of a token of the gold answer, nats', 'nats per token'),
}

_GRADED = 'f1'  # a metric of values between 0 and 1, as means of seeds are


class Score(NamedTuple):
  """How good the answers of models of a kind are."""

  value: statistics.Estimate  # percent, or nats
  asked: Sequence[recall_results.Asked]  # one of each seed


Scores = Mapping[str, Mapping[str, Score]]  # by row, and column
Chosen = Callable[[recall_results.Asked], bool]


def kind(asked: recall_results.Asked) -> str:
  """Returns what model it is, see `measured.kind`."""
  return measured.kind(asked.run.get('mixers', ()), asked.model)


def label(asked: recall_results.Asked) -> str:
  """Returns the task, and how many tokens its contexts are cut to."""
  tokens = asked.settings.get('context_tokens')
  return asked.task if tokens is None else f'{asked.task}, {tokens} tokens'


def is_plain(prompt: str) -> Chosen:
  """Returns what tells answers to a kind of prompt, read as is the default."""
  return lambda x: x.prompt == prompt and not (
      x.settings.get('long_prompt') or x.settings.get('short_prompt')
  )


def by_measure(
    results: exhibit.Results,
    chosen: Chosen,
    column: Callable[[recall_results.Asked], str] = kind,
) -> dict[str, Scores]:
  """Returns how good answers are, by the measure of MEASURES.

  Args:
    results: of jobs of `recall_results`.
    chosen: tells the answers that count; of them, those of one label and column
      are of runs that differ in their seeds alone.
    column: of answers, by which they are compared.

  Raises:
    ValueError: they are not, or were asked other examples.
  """
  runs = {}
  for x in filter(chosen, recall_results.asked(results)):
    if 'values' not in x.found:  # a result of an earlier version
      continue
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
  """Returns the columns of all rows, in the order that they come in."""
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
  """Returns a table of what columns are better by than one of them.

  Args:
    scores: by row and column.
    measure: of MEASURES, that they are of.
    words: what the columns are, of those that are shown.
    over: the one that they are compared with.
    caption: to which the unit is added.
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
  """Whether there is something to compare: losses, or FLOOR somewhere."""
  return measure == 'likely' or any(_best(x) >= FLOOR for x in scores.values())


def digits(measure: str) -> int:
  """Returns how many digits of a measure are shown."""
  return 1 if measure == 'right' else 3


def gains(scores: Scores, a: str, b: str) -> dict[str, statistics.Estimate]:
  """Returns what one column is better by than another, where both were asked."""
  return {
      row: gain(found[a], found[b])
      for row, found in scores.items()
      if found.keys() >= {a, b}
  }


def score(runs: Sequence[recall_results.Asked]) -> Score:
  """Returns the mean of runs which were asked the same examples.

  That is percent, or nats.

  Raises:
    ValueError: they were not.
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
  found = scores.mean(metric, _values(runs), first.contexts)
  return Score(found.scaled(100) if first.is_share else _log(found), runs)


def gain(a: Score, b: Score) -> statistics.Estimate:
  """Returns what models have right more than others, in points.

  Of losses it is by how much they are less, in nats.

  Raises:
    ValueError: they were not asked the same examples.
  """
  first = a.asked[0]
  _check_same(first, b.asked[0])
  values = (_values(x.asked) for x in (a, b))
  metric = _GRADED if first.is_share else first.metric
  found = scores.compare(metric, *values, groups=first.contexts).difference
  if first.is_share:
    return found.scaled(100)
  nats = _log(found)  # of the ratio of perplexities
  low, high = -nats.high, -nats.low
  return nats._replace(estimate=-nats.estimate, low=low, high=high)


def verdict(
    measures: Mapping[str, Scores], a: str, b: str, words: str
) -> exhibit.Verdict:
  """Returns whether one column is better than another.

  Tasks on which a column has FLOOR right decide, or else how likely the gold
  answers are. It holds if the intervals of all gains are above 0, in part if
  some are; it fails if none is and some are below 0; else it is not decided.

  Args:
    measures: from `by_measure`.
    a, b: columns.
    words: that the sentence begins with.
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
