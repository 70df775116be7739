"""Positions in a drawing, in percent, so that it fits any width.

Text keeps its size at any width, because nothing is scaled. The template draws.
"""

from collections.abc import Iterable, Sequence
import math
from typing import Any, NamedTuple

from jrt_jax.reproduce import exhibit

_FIRST, _LAST = 6.0, 97.0  # the data's range, in percent of the width
_TICKS = 5  # about the most


class Axis(NamedTuple):
  """Converts values to percent of the drawing."""

  low: float
  high: float
  ticks: Sequence[float]
  is_log: bool = False
  first: float = _FIRST
  last: float = _LAST

  def at(self, value: float) -> float:
    """Returns the position of a value, in percent from the axis's start."""
    low, high, x = self.low, self.high, value
    if self.is_log:
      low, high, x = map(math.log, (low, high, value))
    share = (x - low) / (high - low)
    return round(self.first + share * (self.last - self.first), 2)

  def label(self, tick: float) -> str:
    """Returns the label of a tick."""
    return f'{tick:,.10g}'.replace('-', '−')


def interval(cell: Any) -> tuple[float, float, float] | None:
  """Returns (low, value, high) of a cell, or None if it cannot be drawn."""
  if isinstance(cell, (int, float)):
    return (cell, cell, cell) if math.isfinite(cell) else None
  if getattr(cell, 'estimate', None) is None or not math.isfinite(
      cell.estimate
  ):
    return None
  low, high = cell.low, cell.high
  if not (math.isfinite(low) and math.isfinite(high)):
    low = high = cell.estimate
  return low, cell.estimate, high


def linear(values: Iterable[float], *, first=_FIRST, last=_LAST) -> Axis:
  """Returns an axis that contains all values, with round ticks."""
  values = [*values]
  low, high = min(values, default=0.0), max(values, default=1.0)
  if low == high:
    low, high = low - 0.5, high + 0.5
  step = _round_step((high - low) / _TICKS)
  start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
  ticks = [round(i * step, 12) for i in range(start, stop + 1)]
  return Axis(ticks[0], ticks[-1], ticks, first=first, last=last)


def logarithmic(values: Iterable[float], *, first=_FIRST, last=_LAST) -> Axis:
  """Returns an axis with ticks at powers of 10, or of 2 if there are few.

  Raises:
    ValueError: a value is not positive.
  """
  values = [*values]
  if not values or min(values) <= 0:
    raise ValueError(f'values of a logarithmic axis must be > 0, got {values}')
  low, high = min(values), max(values)
  if low == high:
    low, high = low / 2, high * 2
  base = 10 if high / low > 200 else 2
  start = math.floor(math.log(low, base) + 1e-9)
  stop = math.ceil(math.log(high, base) - 1e-9)
  every = max(1, round((stop - start) / _TICKS))
  ticks = [float(base) ** i for i in range(start, stop + 1, every)]
  return Axis(
      float(base) ** start,
      float(base) ** stop,
      ticks,
      is_log=True,
      first=first,
      last=last,
  )


class Point(NamedTuple):
  """A mark, in percent of the drawing; its interval is from low to high."""

  x: float
  y: float
  low: float
  high: float


class Plot(NamedTuple):
  """Curves: axes, and the points of each series."""

  x: Axis
  y: Axis
  series: dict[str, list[Point]]


def plot(lines: exhibit.Lines) -> Plot:
  """Returns the positions of curves; y grows upwards."""
  points = {
      name: [(x, *found) for x, y in curve if (found := interval(y))]
      for name, curve in lines.series.items()
  }
  flat = [p for curve in points.values() for p in curve]
  ys = [y for p in flat for y in p[1:]] + [*lines.marks.values()]
  axis = {True: logarithmic, False: linear}
  x = axis[lines.log_x]((p[0] for p in flat), first=9.0)
  y = axis[lines.log_y](ys, first=96.0, last=6.0)
  return Plot(
      x,
      y,
      {
          name: [Point(x.at(v), y.at(m), y.at(a), y.at(b)) for v, a, m, b in c]
          for name, c in points.items()
      },
  )


def check(piece: exhibit.Table | exhibit.Lines) -> None:
  """Raises ValueError or another error if a piece cannot be drawn."""
  if isinstance(piece, exhibit.Lines):
    plot(piece)
    return
  dots_axis(piece)
  for row in piece.rows.values():
    for value in row:
      exhibit.parts(value, piece.digits)


def dots_axis(table: exhibit.Table) -> Axis:
  """Returns an axis for all drawn columns of a table."""
  columns = [table.columns.index(name) for name in table.drawn]
  found = [interval(row[i]) for row in table.rows.values() for i in columns]
  values = [x for three in found if three for x in three]
  axis = logarithmic if table.is_log else linear
  return axis([*values, *table.marks.values()], first=2.0, last=98.0)


def _round_step(step):
  """The least of 1, 2, 2.5 and 5 times a power of ten that is >= `step`."""
  power = 10.0 ** math.floor(math.log10(step))
  return power * next(
      x for x in (1, 2, 2.5, 5, 10) if x * power >= 0.999 * step
  )
