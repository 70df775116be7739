"""Means and differences of metrics, with intervals over contexts.

Examples that share a context are not independent: intervals resample contexts.
"""

from collections.abc import Sequence
import math
from typing import NamedTuple

import numpy as np

from jrt_jax.evaluation import slices
from jrt_jax.evaluation import statistics
from jrt_jax.evaluation.recall import scores


class Comparison(NamedTuple):
  """The comparison of two kinds of prompts on the same examples.

  Attributes:
    difference: the difference of the means. For perplexities it is their ratio,
      which is below 1 if the kind is better than the baseline.
    p_value: the p value of McNemar's exact test. None if values are not 0 or 1,
      or if examples share contexts, because the test assumes independence.
  """

  difference: statistics.Estimate
  p_value: float | None


def mean(
    name: str, values: Sequence[float], groups: Sequence[str] | None = None
) -> statistics.Estimate:
  """Returns the mean of a metric over examples [n], with its 95 % interval.

  Args:
    name: the name of the metric.
    values: the values of the examples.
    groups: [n], equal for examples that share a context. Such examples are not
      independent, so that the interval resamples groups; the estimate is still
      the mean over examples. None: no two examples share a context.
  """
  metric = scores.find(name)
  if metric.f1_of:
    return _possible(_over_contexts(_f1(metric, values, groups), values), 0, 1)
  if metric.is_perplexity:
    return _exponential(_clustered(values, groups))
  if metric.binary:
    return _share(values, groups)
  return _possible(_clustered(values, groups), 0, 1)


def compare(
    name: str,
    values: Sequence[float],
    baseline: Sequence[float],
    groups: Sequence[str] | None = None,
) -> Comparison:
  """Compares values [n] with those of a baseline, example by example.

  Args:
    name, values, groups: see `mean`.
    baseline: the baseline's values of the same examples.
  """
  metric = scores.find(name)
  if metric.f1_of:
    pairs = np.subtract(*(_f1(metric, x, groups) for x in (values, baseline)))
    difference = _over_contexts(pairs, values)
  else:
    difference = _clustered(np.subtract(values, baseline), groups)
  difference = difference._replace(method=f'paired, {difference.method}')
  if metric.is_perplexity:
    return Comparison(_exponential(difference), None)
  p = None
  if metric.binary and not _share_contexts(groups):
    p = statistics.mcnemar(values, baseline)
  return Comparison(_possible(difference, -1, 1), p)


def _share_contexts(groups):
  return groups is not None and len({*groups}) < len(groups)


def _clustered(values, groups):
  """The mean over examples [n], with an interval that resamples groups.

  It is a ratio of sums over groups of different sizes.
  """
  if not _share_contexts(groups):
    return statistics.mean(values)
  _, index = np.unique([*groups], return_inverse=True)
  totals, counts = np.bincount(index, values), np.bincount(index)
  found = statistics.mean(slices.linearised(totals, counts))
  return _of_groups(found, np.mean(values), len(values), len(counts))


def _f1(metric, values, groups):
  """Values for contexts [G]; their mean is the mean F1 of the metric's choices.

  Each F1 is a ratio of sums, 2 TP / (2 TP + FP + FN).
  """
  right, chosen = np.divmod(values, scores.MOST_CHOICES)
  groups = range(len(values)) if groups is None else groups
  names, index = np.unique([*groups], return_inverse=True)
  found = []
  for choice in metric.f1_of:
    wanted, given = 1 * (right == choice), 1 * (chosen == choice)
    hits, counts = (
        np.bincount(index, x) for x in (2 * wanted * given, wanted + given)
    )
    if counts.any():
      found.append(slices.linearised(hits, counts))
  return np.mean(found or [np.zeros(len(names))], axis=0)


def _over_contexts(linear, values):
  """The mean over contexts [G], which have n examples in all."""
  found = statistics.mean(linear)
  if len(linear) == len(values):
    return found
  return _of_groups(found, found.estimate, len(values), len(linear))


def _share(values, groups):
  """The same for values 0 and 1; the interval is never one point."""
  if not _share_contexts(groups):
    return statistics.proportion(values)
  if len({*values}) > 1:
    return _possible(_clustered(values, groups), 0, 1)
  # It is unknown how similar the examples of a group are: a group counts once.
  G = len({*groups})
  found = statistics.proportion(np.full(G, values[0]))
  return _of_groups(found, values[0], len(values), G)


def _of_groups(found, estimate, n, G):
  words = f'{found.method} over {G} contexts'
  return found._replace(estimate=float(estimate), n=n, method=words)


def _possible(estimate, low, high):
  """Clips an interval to possible values; that of few groups may be wider."""
  bounds = np.clip([estimate.low, estimate.high], low, high)
  return estimate._replace(low=float(bounds[0]), high=float(bounds[1]))


def _exponential(estimate):
  """Converts log-likelihoods to perplexities; this swaps high and low."""
  return estimate._replace(
      estimate=_exp(-estimate.estimate),
      low=_exp(-estimate.high),
      high=_exp(-estimate.low),
  )


def _exp(x):
  return math.exp(x) if x < 700 else math.inf  # the range of float64
