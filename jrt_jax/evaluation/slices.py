"""Divides the labels of windows into slices, and prepares their mean losses.

A label is an *associative-recall hit* if it ends a pair of tokens that occurs
earlier in the window and that is rare in the training data: a model can hardly
predict it without recalling the earlier pair.

Source: Arora et al. 2024, figure 3, https://arxiv.org/abs/2407.05483; hits are
from Arora et al. 2023 (Zoology), https://arxiv.org/abs/2312.04927.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Slice(NamedTuple):
  """A set of labels.

  Attributes:
    kind: which labels these are, in words.
    low, high: the range of their count or distance, both included; None if the
      kind has no bins.
    unit: the unit of the bounds.
  """

  kind: str
  low: int | None = None
  high: int | None = None
  unit: str = ''

  def __str__(self) -> str:
    if self.low is None:
      return self.kind
    bounds = {self.low: None, self.high: None}  # once, if they are equal
    shown = '–'.join(f'{x:,}' for x in bounds)
    return f'{self.kind}, {shown} {self.unit}'


class Family(NamedTuple):
  """Disjoint slices."""

  slices: Sequence[Slice]
  member: np.ndarray  # int [N, L], the slice of each label; -1: it is in none


def families(
    distances: np.ndarray,
    counts: np.ndarray,
    *,
    rare: int,
    far: int,
) -> dict[str, Family]:
  """Divides labels as in the paper's figure 3.

  `recall` divides them into hits and all others. `count` divides all labels by
  how often their pair occurs in the training data, separately for pairs that
  last occurred at least `far` tokens before (the hits of the figure, which has
  no bound on their count), nearer, or not at all. `distance` divides the hits
  by the distance to the last occurrence of their pair.

  Args:
    distances: int [N, L], see `recall.distances`.
    counts: int [N, L], how often the pair of each label is in the training
      data.
    rare: pairs of hits have a smaller count than this.
    far: a distance in tokens, at least 2.

  Returns:
    families by name; `recall` and `count` have every label.
  """
  is_hit = (distances > 0) & (counts < rare)
  repeated = np.digitize(distances, [1, far])  # not, near, far
  kinds = (
      'not repeated',
      f'repeated within {far:,}',
      f'repeated from {far:,} on',
  )
  recalled = 'recall hits', 'other tokens'
  in_training = _bins(counts, base=10, unit='times in training')
  back = _bins(distances, base=2, unit='tokens back')
  return {
      'recall': Family([*map(Slice, recalled)], np.where(is_hit, 0, 1)),
      'count': _binned(kinds, repeated, counts, in_training),
      'distance': _binned(
          ['recall hits'], np.where(is_hit, 0, -1), distances, back
      ),
  }


def sums(family: Family, values: np.ndarray) -> np.ndarray:
  """Returns the sums of values [N, L] over each slice and window.

  Returns float64 [S, N] for the S slices of a family.
  """
  N, S = len(values), len(family.slices)
  inside = family.member >= 0
  index = N * family.member + np.arange(N)[:, None]
  total = np.bincount(index[inside], values[inside], minlength=S * N)
  return total.reshape(S, N)


def linearised(totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Returns one value for each window; their mean is the mean over all labels.

  Windows have different numbers of labels in a slice, so that the mean loss is
  a ratio of two sums over windows. To first order, this ratio varies with the
  sample of windows like the mean of the returned values, so that intervals and
  differences of means are valid for it.

  Args:
    totals: float [N], the sum over the labels of each window.
    counts: [N], the number of labels in each window; not all are 0.

  Source: linearisation of a ratio estimator, Cochran 1977, Sampling Techniques,
  section 6.
  """
  ratio = totals.sum() / counts.sum()
  return ratio + (totals - ratio * counts) / counts.mean()


def _bins(values, *, base, unit):
  """Bins: one for 0, then bins whose ends grow by the factor `base`."""
  edges = [0, 1]
  while edges[-1] <= values.max():
    edges.append(base * edges[-1])
  return [Slice('', low, end - 1, unit) for low, end in zip(edges, edges[1:])]


def _binned(kinds, kind, values, bins):
  """A family of kinds that are divided by `values`; kind -1 is in no slice."""
  member = np.digitize(values, [x.low for x in bins]) - 1 + len(bins) * kind
  found = [x._replace(kind=name) for name in kinds for x in bins]
  return Family(found, np.where(kind < 0, -1, member))
