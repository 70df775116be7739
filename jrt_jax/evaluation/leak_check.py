"""Checks that predictions do not depend on the tokens that they predict."""

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
  """Changes a continuation, and checks that earlier logits do not change.

  For each token of the continuation, this token and all later ones are
  replaced. The logits of the context, and those that predict this token or an
  earlier one, must not change.

  Args:
    logits: a function of a context, int [n], and N continuations, int [N, m],
      that returns float32 [N, r, V]: the logits after the last r tokens of
      context and continuation, with r > m.
    context: the context, int [n].
    following: the continuation, int [m], at least one token.
    num_ids: ids lie in [0, num_ids).
    tolerance: how much a logit may change.

  Returns:
    the largest change of a logit.

  Raises:
    ValueError: a logit changed by more than `tolerance`.
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
    j = leaks[-1]  # the last one: the error names this token
    raise ValueError(
        f'logits must not depend on what follows, but token {j} after the'
        f' context moves one before it by {moved[j]:.2g}'
    )
  return float(moved.max())
