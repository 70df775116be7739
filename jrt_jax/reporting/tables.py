"""Tables that fit a terminal."""

from collections.abc import Iterable, Sequence
import itertools
import textwrap

WIDTH = 80  # largest width of a table, in characters
_NARROWEST = 20  # if cells had to be narrower, the table is split instead
_NAMES = 36  # width of wrapped cells in tables that are split
_GAP = 2


def aligned(rows: Iterable[Sequence[str]], sides: str = '<') -> str:
  """Returns a line for each row of cells, in columns two spaces apart.

  A table wider than `WIDTH` is made to fit: long cells of the widest
  left-aligned column are wrapped. If that does not suffice, the remaining
  columns follow in a second table with the same first column, after an empty
  line.

  Args:
    rows: rows with the same number of cells, including the header.
    sides: the alignment of each column, '<' (left) or '>' (right); the last one
      also applies to all further columns.
  """
  rows = [*rows]
  count = len(rows[0]) if rows else 0
  sides = sides.ljust(count, sides[-1])
  rows = _wrapped(rows, sides)
  return '\n\n'.join(
      _lines([[row[i] for i in columns] for row in rows], columns, sides)
      for columns in _blocks(_widths(rows))
  )


def paragraph(text: str) -> str:
  """Wraps a text to `WIDTH`, with all lines indented except the first."""
  return textwrap.fill(
      text, WIDTH, subsequent_indent='  ', break_on_hyphens=False
  )


def _lines(rows, columns, sides):
  widths = _widths(rows)
  return '\n'.join(
      '  '.join(
          f'{x:{sides[i]}{w}}' for x, i, w in zip(row, columns, widths)
      ).rstrip()
      for row in rows
  )


def _widths(rows):
  return [max(map(len, column)) for column in zip(*rows)]


def _total(widths):
  return sum(widths) + _GAP * (len(widths) - 1)


def _wrapped(rows, sides):
  """Returns rows in which long cells of one column are wrapped."""
  widths = _widths(rows)
  left = [i for i, side in enumerate(sides) if side == '<']
  if _total(widths) <= WIDTH or not left:
    return rows
  i = max(left, key=widths.__getitem__)
  room = WIDTH - _total(widths) + widths[i]
  if room < _NARROWEST:  # the table is split; names are given their share
    room = _NAMES
  return [line for row in rows for line in _continued(row, i, room)]


def _continued(row, i, room):
  """Yields a row as several, with cell `i` wrapped to `room` characters."""
  first, *rest = textwrap.wrap(
      row[i].lstrip(),
      room,
      initial_indent=' ' * (len(row[i]) - len(row[i].lstrip())),
      subsequent_indent=''
      if i
      else '  ',  # so that names of rows stay distinct
      break_on_hyphens=False,
  ) or ['']
  yield [*row[:i], first, *row[i + 1 :]]
  for part in rest:
    yield [part if j == i else '' for j in range(len(row))]


def _blocks(widths):
  """Yields the columns of each table, the first one in all of them."""
  columns = range(1, len(widths))
  while columns:
    totals = itertools.accumulate(
        (widths[i] + _GAP for i in columns), initial=widths[0]
    )
    fitting = max(sum(x <= WIDTH for x in totals) - 1, 1)
    yield [0, *columns[:fitting]]
    columns = columns[fitting:]
  if len(widths) == 1:
    yield [0]
