"""Sizes to which batches, rows and caches are padded, so that few compile."""

from collections.abc import Sequence
from typing import Any

_LENGTH = 16  # tokens of the shortest rows
_SLOTS = 256  # caches grow by at least this


def filled(size: int) -> int:
  """Returns the smallest power of two that is at least `size`."""
  return 1 << max(size - 1, 0).bit_length()


def filled_length(length: int, parts: int = 1) -> int:
  """Returns the padded length of a row of `length` tokens.

  It is a multiple of `parts`, the number of devices that share the row.
  """
  return parts * max(_LENGTH, filled(-(-length // parts)))


def filled_rows(rows: int, replicas: int = 1) -> int:
  """Returns the padded number of rows, a multiple of `replicas`."""
  return replicas * filled(-(-rows // replicas))


def with_empty(
    rows: Sequence[Sequence[Any]], replicas: int = 1
) -> list[Sequence[Any]]:
  """Pads a batch with empty rows."""
  return [*rows, *[()] * (filled_rows(len(rows), replicas) - len(rows))]


def slots_for(tokens: int) -> int:
  """Returns the slots of a cache for `tokens`: four sizes for each doubling.

  Decoding reads all slots: powers of two would cost up to twice as much.
  """
  step = max(_SLOTS, filled(tokens) // 8)
  return -(-tokens // step) * step
