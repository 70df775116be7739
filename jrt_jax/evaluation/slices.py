"""Which labels of a text make up a slice, and what is known of their mean.

A label is an *associative-recall hit* if it ends a pair of tokens that its
window has had before and that is rare in the training data: what it is can
hardly be known but by recalling it.

Source: Arora et al. 2024, figure 3, https://arxiv.org/abs/2407.05483; hits are
from Arora et al. 2023 (Zoology), https://arxiv.org/abs/2312.04927.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Slice(NamedTuple):
  """Some of the labels.

  Attributes:
    kind: which of them, in words.
    low, high: those whose count or distance lies within, both included; None
      where the kind has no bins.
    unit: of the bounds.
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
  """Slices without a label in common."""

  slices: Sequence[Slice]
  member: np.ndarray  # int [N, L], the slice of each label; -1: it is in none


def families(
    distances: np.ndarray,
    counts: np.ndarray,
    *,
    rare: int,
    far: int,
) -> dict[str, Family]:
  """Divides labels in the ways of the paper's figure 3.

  `recall` has the hits and all others. `count` has every label by how often its
  pair is in the training data, apart for pairs that were read `far` back or
  farther (the figure's hits, there without a bound on their count), nearer, or
  not at all. `distance` has the hits by how far back their pair was last read.

  Args:
    distances: int [N, L], see `recall.distances`.
    counts: int [N, L], of the pair of each label in the training data.
    rare: hits are of pairs with a smaller count.
    far: tokens back, at least 2.

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
  """Returns the sum of values [N, L] over each slice and window.

  That is float64 [S, N], for the S slices of a family.
  """
  N, S = len(values), len(family.slices)
  inside = family.member >= 0
  index = N * family.member + np.arange(N)[:, None]
  total = np.bincount(index[inside], values[inside], minlength=S * N)
  return total.reshape(S, N)


def linearised(totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Returns values of windows, whose mean is the mean over all labels.

  Windows have different numbers of labels in a slice, so that its mean loss is
  a ratio of two sums over windows. To first order that ratio varies with the
  draw of windows as the mean of these values does: intervals and differences
  of means hold for it.

  Args:
    totals: float [N], the sum over the labels of each window.
    counts: [N], how many labels these are; not all are 0.

  Source: linearisation of a ratio estimator, Cochran 1977, Sampling Techniques,
  section 6.
  """
  ratio = totals.sum() / counts.sum()
  return ratio + (totals - ratio * counts) / counts.mean()


def _bins(values, *, base, unit):
  """Of 0, and from 1 on, each of which ends `base` times as far."""
  edges = [0, 1]
  while edges[-1] <= values.max():
    edges.append(base * edges[-1])
  return [Slice('', low, end - 1, unit) for low, end in zip(edges, edges[1:])]


def _binned(kinds, kind, values, bins):
  """A family of kinds, each divided by `values`; a kind of -1 is in none."""
  member = np.digitize(values, [x.low for x in bins]) - 1 + len(bins) * kind
  found = [x._replace(kind=name) for name in kinds for x in bins]
  return Family(found, np.where(kind < 0, -1, member))
