"""Few static prefix capacities for many prefix lengths.

A model is compiled for a capacity P, and reads any prefix up to P with it: one
P serves all lengths, at the cost of the longest. Rows that are grouped by
buckets cost less, for one compilation each. Training does not group: it has
one P, and its rows stay in the order of the data.
"""

from collections.abc import Sequence

import numpy as np


def capacities(longest: int, count: int = 8) -> tuple[int, ...]:
  """Returns at most `count` capacities, the largest `longest`, each ≈ 1.4x.

  The first is 0, of rows without a prefix.
  """
  sizes = {round(longest * 2 ** (-i / 2)) for i in range(count - 1)}
  return tuple(sorted({0, *sizes}))


def group(lengths: np.ndarray, buckets: Sequence[int]) -> dict[int, np.ndarray]:
  """Returns {capacity: the rows for which it is the smallest that fits}.

  Args:
    lengths: int [B], prefix lengths.
    buckets: capacities, ascending.

  Raises:
    ValueError: a prefix is longer than all of them.
  """
  lengths = np.asarray(lengths)
  if len(lengths) and lengths.max() > buckets[-1]:
    raise ValueError(
        f'lengths must not exceed the largest bucket, {buckets[-1]}, got'
        f' {lengths.max()}'
    )
  chosen = np.searchsorted(buckets, lengths)
  return {buckets[i]: np.flatnonzero(chosen == i) for i in np.unique(chosen)}
