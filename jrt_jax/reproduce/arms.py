"""Arms: the trained models that an exhibit compares, and their results.

An exhibit has sweeps for each scale. Controls only have to show that a task can
be learned, so that they may have their own sweep with fewer seeds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jrt_jax.evaluation import statistics
from jrt_jax.reporting import units
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import sweep as sweep_lib
from jrt_jax.reproduce import training

SOLVED = 95.0  # % of right answers; from here on a task counts as learned

# The first fresh seed: settings were chosen with lower ones.
FIRST_SEED = 11


class Arms:
  """The arms of an exhibit.

  Args:
    words: a description of each arm, by its name.
    sweeps: the sweeps of each scale in `exhibit.SCALES`; they share no arms.
  """

  def __init__(
      self,
      words: Mapping[str, str],
      sweeps: Mapping[str, Sequence[sweep_lib.Sweep]],
  ):
    self.words = words
    self._sweeps = {
        scale: [_of_scale(sweep, scale) for sweep in found]
        for scale, found in sweeps.items()
    }

  def plan(
      self, request: exhibit.Request, results: exhibit.Results
  ) -> list[exhibit.Job]:
    """Returns all jobs that the results so far determine."""
    sweeps = self._sweeps[request.scale]
    return [job for sweep in sweeps for job in sweep.jobs(results)]

  def accuracies(
      self, results: exhibit.Results, arm: str, figure: str = training.SCORE
  ) -> np.ndarray:
    """Returns the accuracies of the fresh runs of an arm in percent, [seeds].

    The accuracy of a run that has diverged is 0.
    """
    found = self._sweep(results, arm).figures(arm, results, figure)
    return np.array([100 * (x or 0.0) for x in found])

  def accuracy(
      self, results: exhibit.Results, arm: str, figure: str = training.SCORE
  ) -> statistics.Estimate:
    """Returns the mean of `accuracies`, with Student's interval over seeds."""
    values = self.accuracies(results, arm, figure)
    return statistics.mean(values, method='student', within=(0, 100))

  def gain(
      self, results: exhibit.Results, arm: str, over: str
  ) -> statistics.Estimate:
    """Returns the gain of an arm over another in points, paired by seeds."""
    a, b = (self.accuracies(results, x) for x in (arm, over))
    return statistics.paired_difference(a, b, method='student')

  def chance(self, results: exhibit.Results) -> float:
    """Returns the accuracy of guessing, in percent."""
    return 100 * training.chance(next(iter(results.values())).settings)

  def table(self, results: exhibit.Results, caption: str) -> exhibit.Table:
    """Returns a table with a row for each arm."""
    rows = {}
    for arm, words in self.words.items():
      one = self._first(results, arm)
      rows[words] = (
          self.accuracy(results, arm),
          self._rate(results, arm),
          f'{one["parameters"]:,}',
          f'{one["state_bytes"]:,}',
          units.duration(one['seconds']),
      )
    return exhibit.Table(
        ('accuracy', 'learning rate', 'parameters', 'state, bytes', 'training'),
        rows,
        caption=caption,
        drawn=('accuracy',),
        unit='% of held-out answers',
        marks={'chance': self.chance(results)},
    )

  def curves(self, results: exhibit.Results, caption: str) -> exhibit.Lines:
    """Returns the mean accuracy of the fresh runs of each arm, by step."""
    series = {}
    for arm, words in self.words.items():
      found = self._sweep(results, arm).figures(arm, results, 'curve')
      if points := _mean_curve(found):
        series[words] = points
    return exhibit.Lines(
        series,
        x='steps',
        y='%',
        caption=caption,
        marks={'chance': self.chance(results)},
    )

  def _sweep(self, results, arm):
    """The sweep of an arm at the scale of the results."""
    scale = next(iter(results.values())).settings['scale']
    return next(s for s in self._sweeps[scale] if arm in s.arms)

  def _first(self, results, arm):
    """Figures of the first fresh run; only scores differ in the others."""
    sweep = self._sweep(results, arm)
    names = ('parameters', 'state_bytes', 'seconds')
    return {x: sweep.figures(arm, results, x)[0] for x in names}

  def _rate(self, results, arm):
    sweep = self._sweep(results, arm)
    rate = f'{sweep.best_rate(arm, results):g}'
    return f'{rate} (edge)' if sweep.is_at_edge(arm, results) else rate


def sweep(
    task: str,
    overrides: Mapping[str, Any],
    arms: Mapping[str, Mapping[str, Any]],
    *,
    rates: Sequence[float],
    num_seeds: int,
    first_seed: int = FIRST_SEED,
    loss: str | None = None,
) -> sweep_lib.Sweep:
  """Returns a sweep with one trial at each rate, and fresh seeds.

  Args:
    task: a choice of `configs/synthetic.py`.
    overrides: changes of its config for all arms, by dotted key.
    arms: further changes of the config for each arm.
    rates: learning rates, ascending.
    num_seeds: the number of fresh runs.
    first_seed: the first seed of these; no setting was chosen with this or a
      higher seed.
    loss: see `sweep.Sweep`. None for exhibits whose results are older than it.
  """
  return sweep_lib.Sweep(
      arms={
          name: {'overrides': {**overrides, **x}} for name, x in arms.items()
      },
      rates=rates,
      trials=(0,),
      seeds=range(first_seed, first_seed + num_seeds),
      common={'task': task},
      score=training.SCORE,
      loss=loss,
  )


def twins(
    task: str, overrides: Mapping[str, Any], rates: Sequence[float]
) -> tuple[sweep_lib.Sweep, sweep_lib.Sweep]:
  """Returns sweeps of `pla` and `la`, and of `attention`, which is a control.

  Args:
    task, overrides, rates: see `sweep`.
  """
  make = lambda mixers, num_seeds: sweep(
      task,
      overrides,
      {x: {'model.mixers': ('conv', x, 'conv', x)} for x in mixers},
      rates=rates,
      num_seeds=num_seeds,
  )
  return make(('pla', 'la'), 5), make(('attention',), 2)


def _of_scale(sweep, scale):
  """Adds the scale to the settings, so that results can be read again."""
  return sweep._replace(common={**sweep.common, 'scale': scale})


def _mean_curve(curves):
  """[(step, estimate)] for the steps at which all runs were evaluated."""
  by_step = [dict(curve) for curve in curves]
  shared = sorted(set.intersection(*map(set, by_step))) if by_step else []
  return [
      (
          int(step),
          statistics.mean(
              [100 * x[step] for x in by_step],
              method='student',
              within=(0, 100),
          ),
      )
      for step in shared
  ]
