"""To what batches, rows and caches are filled up, so that few sizes compile."""

from collections.abc import Sequence
from typing import Any

_LENGTH = 16  # tokens, of the shortest rows
_SLOTS = 256  # by which caches grow at least


def filled(size: int) -> int:
  """The smallest power of two that is not less."""
  return 1 << max(size - 1, 0).bit_length()


def filled_length(length: int) -> int:
  """How many tokens a row gets that has so many."""
  return max(_LENGTH, filled(length))


def filled_rows(rows: int, replicas: int = 1) -> int:
  """How many rows a batch gets, of which each replica has as many."""
  return replicas * filled(-(-rows // replicas))


def with_empty(
    rows: Sequence[Sequence[Any]], replicas: int = 1
) -> list[Sequence[Any]]:
  """Fills up a batch with rows of nothing."""
  return [*rows, *[()] * (filled_rows(len(rows), replicas) - len(rows))]


def slots_for(tokens: int) -> int:
  """How many slots caches have for so many tokens: four sizes an octave.

  Decoding reads all of them, so that powers of two would cost up to twice.
  """
  step = max(_SLOTS, filled(tokens) // 8)
  return -(-tokens // step) * step
