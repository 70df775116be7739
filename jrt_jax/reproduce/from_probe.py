"""Exhibits that run probes: one job for each seed, without training."""

from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any

import numpy as np

from jrt_jax.evaluation import statistics
from jrt_jax.evaluation.synthetic import probes
from jrt_jax.reproduce import exhibit

SEEDS = {'cpu': 5, 'gpu': 20}


class Seeds:
  """The jobs of a probe, and the figures of its seeds."""

  def __init__(self, probe: probes.Probe):
    self._probe = probe

  def plan(
      self, request: exhibit.Request, results: exhibit.Results
  ) -> list[exhibit.Job]:
    """Returns a job for each seed."""
    del results
    seeds = range(SEEDS[request.scale])
    return [exhibit.Job(f'seed{seed}', {'seed': seed}) for seed in seeds]

  def measure(
      self, settings: Mapping[str, Any], workdir: pathlib.Path
  ) -> dict[str, dict[str, float]]:
    """Returns the figures of a seed, by row and column."""
    del workdir
    figures = self._probe.measure(np.random.default_rng(settings['seed']))
    rows = {}
    for (row, column), value in figures.items():
      rows.setdefault(row, {})[column] = value
    return rows

  def values(self, results: exhibit.Results) -> dict[tuple[str, str], Any]:
    """Returns each figure of all seeds, [seeds] by (row, column)."""
    first, *_ = results.values()
    return {
        (row, column): np.array(
            [done.figures[row][column] for done in results.values()], float
        )
        for row, columns in first.figures.items()
        for column in columns
    }

  def cells(
      self,
      results: exhibit.Results,
      rows: Sequence[str],
      columns: Sequence[str],
      estimate: Callable[[Any], statistics.Estimate] = statistics.mean,
  ) -> dict[str, list[statistics.Estimate]]:
    """Returns rows of estimates; `estimate` takes a figure of all seeds."""
    values = self.values(results)
    return {
        row: [estimate(values[row, column]) for column in columns]
        for row in rows
    }

  def broken(self, results: exhibit.Results) -> list[str]:
    """Returns a text for each expected range that does not hold."""
    return [
        f'{e.what} is {np.mean(e.values):.3g}, not {e.range()}'
        for e in self._probe.expectations(self.values(results))
        if not e.holds()
    ]


def percentage(shares: Any) -> statistics.Estimate:
  """Returns the mean of shares in percent, with an interval within 0 and 100."""
  return statistics.mean(100 * np.asarray(shares), within=(0, 100))
