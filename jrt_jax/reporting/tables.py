"""Tables in a terminal."""

from collections.abc import Iterable, Sequence


def aligned(rows: Iterable[Sequence[str]], sides: str = '<') -> str:
  """Returns a line for each row of cells, in columns two spaces apart.

  Args:
    rows: rows with the same number of cells, including the header.
    sides: the alignment of each column, '<' (left) or '>' (right); the last one
      also applies to all further columns.
  """
  rows = [*rows]
  widths = [max(map(len, column)) for column in zip(*rows)]
  sides = sides.ljust(len(widths), sides[-1])
  return '\n'.join(
      '  '.join(
          f'{x:{side}{w}}' for x, side, w in zip(row, sides, widths)
      ).rstrip()
      for row in rows
  )
