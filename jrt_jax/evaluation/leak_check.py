"""Whether scores depend on what they should not know."""

from collections.abc import Callable

import numpy as np


def leak_check(
    logits: Callable[[np.ndarray, np.ndarray], np.ndarray],
    context: np.ndarray,
    following: np.ndarray,
    *,
    num_ids: int,
    tolerance: float = 1e-4,
) -> float:
  """Changes what follows a context, and looks whether logits before it move.

  For each token that follows, it and all after it become others: no logits of
  the context, and none from which a token up to it is predicted, may move.

  Args:
    logits: a function of a context, int [n], and of what follows, int [m], to
      float32 [r, V]: rows after r consecutive tokens, of which the last is the
      last that follows, and the first is the last of the context or earlier.
    context, following: its arguments.
    num_ids: ids lie in [0, num_ids).
    tolerance: how much a logit may move.

  Returns:
    how much one has moved at most.

  Raises:
    ValueError: a logit moved by more than `tolerance`.
  """
  following = np.asarray(following)
  expected = logits(context, following)
  m, largest = len(following), 0.0
  rng = np.random.default_rng(0)
  for j in reversed(range(m)):  # so that the error names the token
    other = following.copy()
    other[j:] = (other[j:] + rng.integers(1, num_ids, m - j)) % num_ids
    before = len(expected) - (m - j)
    actual = logits(context, other)
    moved = float(np.abs(actual[:before] - expected[:before]).max())
    if not moved <= tolerance:
      raise ValueError(
          f'logits must not depend on what follows, but token {j} after the'
          f' context moves one before it by {moved:.2g}'
      )
    largest = max(largest, moved)
  return largest
