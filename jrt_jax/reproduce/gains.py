"""Exhibits that ask how much one trained model gains over others.

The result is void unless the control has learned the task. A claim names pairs
of arms and the least gain of each. It holds if all intervals of the gains are
above these, and in part if at least one is and none is below; it fails if one
is below; otherwise it is not decided.
"""

from collections.abc import Iterable, Mapping
import functools
from typing import Any, NamedTuple

from jrt_jax.evaluation import statistics
from jrt_jax.reproduce import arms as arms_lib
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import training


class Pair(NamedTuple):
  """An arm, and what it must gain over another for the claim to hold."""

  arm: str
  over: str
  least: float = 0.0  # in the unit of the gain


def make(
    arms: arms_lib.Arms,
    pairs: Mapping[str, Pair],
    *,
    caption: str,
    control: str = 'attention',
    **about: Any,
) -> exhibit.Exhibit:
  """Returns an exhibit.

  Args:
    arms: the arms.
    pairs: the pairs of the claim, by a description.
    caption: the caption of the table of accuracies.
    control: the arm that must learn the task.
    **about: the title, source, claim and `at_paper_scale` of the exhibit.
  """
  return exhibit.Exhibit(
      plan=arms.plan,
      measure=training.train,
      takes_minutes=True,
      show=lambda results: [*_show(arms, pairs, caption, results)],
      verdict=functools.partial(_verdict, arms, pairs, control),
      **about,
  )


def _show(arms, pairs, caption, results):
  yield exhibit.Table(
      ('gain', 'least'),
      {
          words: (arms.gain(results, pair.arm, pair.over), pair.least)
          for words, pair in pairs.items()
      },
      caption='Gains, and what the claim needs, in points',
      drawn=('gain',),
      unit='points of answers',
      marks={'nothing': 0},
  )
  yield arms.table(results, caption)
  yield arms.curves(results, 'The same during training')


def _verdict(arms, pairs, control, results):
  gains = {
      words: (arms.gain(results, pair.arm, pair.over), pair.least)
      for words, pair in pairs.items()
  }
  seeds = next(iter(gains.values()))[0].n
  learned = arms.accuracy(results, control)
  shown = '; '.join(f'{x}: {exhibit.text(g)}' for x, (g, _) in gains.items())
  words = (
      f'Gains in points, over {seeds} fresh seeds: {shown}. The control has'
      f' {exhibit.text(learned)} % of the answers right.'
  )
  if learned.estimate < arms_lib.SOLVED:
    return exhibit.Verdict('void', f'{words} It has not learned the task.')
  return exhibit.Verdict(word(gains.values()), words)


def word(gains: Iterable[tuple[statistics.Estimate, float]]) -> str:
  """Returns the word of the verdict on gains, each with the least claimed."""
  gains = [*gains]
  if any(gain.high < least for gain, least in gains):
    return 'fails'
  more = [gain.low > least for gain, least in gains]
  return 'holds' if all(more) else 'partly' if any(more) else 'open'
