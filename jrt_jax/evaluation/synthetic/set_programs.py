"""Programs that find the element two sets share, and count what they keep.

They read `1 A 2 B 3`, where ids below 4 are marks, as in the paper's set
disjointness (Arora et al. 2024, https://arxiv.org/abs/2407.05483). One program
reads it once; the other reads it twice and keeps the smaller set, which
suffices by theorem G.15. The programs are ours.
"""

from collections.abc import Iterator

import numpy as np

FIRST, SECOND, END = 1, 2, 3  # marks: A follows, B follows, nothing follows


def kept_once(tokens: np.ndarray) -> tuple[int | None, int]:
  """Reads `1 A 2 B 3` and keeps A.

  Returns:
    the shared element, and how many elements were kept at most.
  """
  kept, answer = set(), None
  for owner, element in _elements(tokens):
    if owner == FIRST:
      kept.add(element)
    elif element in kept:
      answer = element
  return answer, len(kept)


def kept_twice(tokens: np.ndarray) -> tuple[int | None, int]:
  """Reads `1 A 2 B 3` two times and keeps the smaller set.

  In the first pass it counts A and keeps B until B turns out to be larger. In
  that case it keeps A in the second pass.

  Returns:
    the shared element, and how many elements were kept at most.
  """
  kept, sizes, most, answer = set(), {FIRST: 0, SECOND: 0}, 0, None
  for owner, element in _elements(tokens):
    sizes[owner] += 1
    if sizes[SECOND] > sizes[FIRST]:
      kept.clear()
    elif owner == SECOND:
      kept.add(element)
    most = max(most, len(kept))
  smaller = min(SECOND, FIRST, key=sizes.__getitem__)
  for owner, element in _elements(tokens):
    if owner == smaller:
      kept.add(element)
    elif element in kept:
      answer = element
    most = max(most, len(kept))
  return answer, most


def _elements(tokens: np.ndarray) -> Iterator[tuple[int, int]]:
  """Yields (FIRST or SECOND, element)."""
  owner = None
  for token in tokens.tolist():
    if token in (FIRST, SECOND, END):
      owner = token
    else:
      yield owner, token
