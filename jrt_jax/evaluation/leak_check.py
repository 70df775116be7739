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
    logits: a function of a context, int [n], and of what may follow it, int
      [N, m], to float32 [N, r, V]: rows after r consecutive tokens, of which the
      last is the last that follows, and the first is the last of the context or
      earlier.
    context: its first argument.
    following: int [m], at least one token.
    num_ids: ids lie in [0, num_ids).
    tolerance: how much a logit may move.

  Returns:
    how much one has moved at most.

  Raises:
    ValueError: a logit moved by more than `tolerance`.
  """
  m, rng = len(following), np.random.default_rng(0)
  others = np.tile(following, (m, 1))
  for j, other in enumerate(others):
    other[j:] = (other[j:] + rng.integers(1, num_ids, m - j)) % num_ids
  expected, *found = logits(context, np.stack([following, *others]))
  moved = np.array(
      [
          np.abs(rows - expected)[: len(expected) - m + j].max()
          for j, rows in enumerate(found)
      ]
  )
  leaks = np.flatnonzero(~(moved <= tolerance))
  if leaks.size:
    j = leaks[-1]  # so that the error names the token
    raise ValueError(
        f'logits must not depend on what follows, but token {j} after the'
        f' context moves one before it by {moved[j]:.2g}'
    )
  return float(moved.max())
