"""The parts of probes: figures of several seeds, and their expected ranges."""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import NamedTuple

import numpy as np

from jrt_jax.reporting.tables import aligned

# The figures of one seed, by (row, column) of a table.
Figures = dict[tuple[str, str], float]
Seeds = Mapping[tuple[str, str], np.ndarray]  # [seeds] each


class Expectation(NamedTuple):
  """The range in which the mean over seeds should lie, bounds included."""

  what: str
  values: np.ndarray  # [seeds]
  low: float = -math.inf
  high: float = math.inf

  def holds(self) -> bool:
    return bool(self.low <= np.mean(self.values) <= self.high)

  def range(self) -> str:
    """The range as a text."""
    if self.low == self.high:
      return f'{self.low:g}'
    bounds = []
    if self.low > -math.inf:
      bounds.append(f'>= {self.low:g}')
    if self.high < math.inf:
      bounds.append(f'<= {self.high:g}')
    return ', '.join(bounds)


class Probe(NamedTuple):
  """A small experiment, and the expected ranges of its figures."""

  title: str
  measure: Callable[[np.random.Generator], Figures]
  expectations: Callable[[Seeds], Sequence[Expectation]]


class Result(NamedTuple):
  """The result of a probe."""

  title: str
  figures: Seeds
  expectations: Sequence[Expectation]

  def holds(self) -> bool:
    return all(e.holds() for e in self.expectations)


def summarize(probe: Probe, measured: Sequence[Figures]) -> Result:
  """Returns the result of a probe; `measured` has the figures of each seed."""
  figures = {
      cell: np.array([one[cell] for one in measured]) for cell in measured[0]
  }
  return Result(probe.title, figures, probe.expectations(figures))


def report(result: Result) -> str:
  """Returns the tables of a probe, and the expected ranges below them."""
  checks = [
      [e.what, _mean(e.values), e.range(), 'yes' if e.holds() else 'NO']
      for e in result.expectations
  ]
  header = ['expectation', 'measured', 'expected', 'holds']
  tables = [*_tables(result.figures), [header, *checks]]
  return '\n\n'.join([result.title, *map(aligned, tables)])


def to_json(result: Result) -> dict:
  """Returns the figures of each seed, and the expected ranges of means."""
  figures = {}
  for (row, column), values in result.figures.items():
    figures.setdefault(row, {})[column] = values.tolist()
  expectations = [
      {
          'what': e.what,
          'values': np.asarray(e.values).tolist(),
          'expected': e.range(),
          'holds': e.holds(),
      }
      for e in result.expectations
  ]
  return {'figures': figures, 'expectations': expectations}


def _tables(figures):
  """Lines of cells; rows with the same columns share a table."""
  rows = {}
  for (row, column), values in figures.items():
    rows.setdefault(row, {})[column] = _mean(values)
  tables = {}
  for row, cells in rows.items():
    lines = tables.setdefault(tuple(cells), [['', *cells]])
    lines.append([row, *cells.values()])
  return tables.values()


def _mean(values):
  """The mean over seeds and, if they differ, their standard deviation."""
  mean, spread = np.mean(values), np.std(values)
  form = '.0f' if not (spread or mean % 1) else '.3f'
  if 0 < abs(mean) < 5e-4:
    form = '.0e'
  return f'{mean:{form}}' + (f' ± {spread:{form}}' if spread else '')
