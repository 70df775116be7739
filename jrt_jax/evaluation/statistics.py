"""Statistics of measured scores, with 95 % intervals; no model, no jax.

Intervals are percentiles of bootstrap means; a seed decides the resamples. From
20 values on they are as accurate as corrected intervals (BCa), and consistent
with the crossed bootstrap, which has no correction. For fewer values they are
too narrow (for 5 normal values, 83 % of them contain the true mean), so that
Student's interval is used instead.

Degenerate samples: Without values the estimate is nan. For a single value, or
if one of two axes has length 1, the interval is nan, because the spread is not
known. If all values are equal, the interval is one point. That means only that
the sample has no spread, not that its mean is certain (`proportion` gives an
interval in this case, too).
"""

import math
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
RESAMPLES = 9999
CROSSED_RESAMPLES = 99_999  # they cost little for any number of examples
FEW = 20  # fewer values than these get Student's interval
_DRAWN_AT_ONCE = 2**22  # values of resamples, 8 bytes each


class Estimate(NamedTuple):
  """A mean over n values and its 95 % interval, in the unit of the values."""

  estimate: float
  low: float
  high: float
  n: int
  method: str  # how the interval was computed, in words

  def excludes(self, value: float = 0.0) -> bool:
    """Whether the interval is known and does not contain `value`."""
    return value < self.low or value > self.high

  def scaled(self, factor: float) -> 'Estimate':
    """Returns it in another unit; `factor` is positive, 100 for percent."""
    estimate, low, high = (factor * x for x in self[:3])
    return self._replace(estimate=estimate, low=low, high=high)


class Crossed(NamedTuple):
  """A mean over models x tasks; the interval resamples both."""

  estimate: float
  low: float
  high: float
  n: int  # cells
  method: str
  sd_over_models: float  # of the models' means over tasks, ddof = 1
  negative: int  # cells below 0


def mean(
    values,
    *,
    method: str | None = None,
    within: tuple[float, float] = (-math.inf, math.inf),
    seed: int = 0,
) -> Estimate:
  """Returns the mean of `values` [n] with an interval over their draws.

  Args:
    values: finite numbers, one for each example or seed.
    method: one of METHODS; None chooses by the number of values.
    within: the range of possible means, such as (0, 100) for percentages; the
      interval is clipped to it.
    seed: the seed of the resamples.

  Raises:
    ValueError: values are not a vector of finite numbers, or the method is
      unknown.
  """
  values = _finite('values', values, ndim=1)
  method = method or ('student' if len(values) < FEW else 'bootstrap')
  if method not in METHODS:
    raise ValueError(f'{method=} must be one of {", ".join(METHODS)}')
  words, interval = METHODS[method]
  estimate = float(values.mean()) if len(values) else math.nan
  if len(values) < 2:
    low, high = math.nan, math.nan
  elif (values == values[0]).all():
    low = high = estimate = float(values[0])
  else:
    low, high = map(float, np.clip(interval(values, seed), *within))
  return Estimate(estimate, low, high, len(values), words)


def paired_difference(
    a, b, *, method: str | None = None, seed: int = 0
) -> Estimate:
  """Returns the mean of a[i] - b[i] over examples i that both have answered.

  Args:
    a, b: finite numbers [n], in the same order.
    method, seed: see `mean`.

  Raises:
    ValueError: a and b differ in length, or see `mean`.
  """
  a, b = _paired(a, b)
  difference = mean(a - b, method=method, seed=seed)
  return difference._replace(method=f'paired, {difference.method}')


def proportion(hits) -> Estimate:
  """Returns the share of ones in `hits` [n] (0 or 1), with Wilson's interval.

  The interval is never one point: 0 of 20 is distinguished from 0 of 2,000.

  Raises:
    ValueError: hits are not all 0 or 1.
  """
  hits = _binary('hits', _finite('hits', hits, ndim=1))
  words = 'Wilson interval'
  if not len(hits):
    return Estimate(math.nan, math.nan, math.nan, 0, words)
  count = _scipy().binomtest(int(hits.sum()), len(hits))
  interval = count.proportion_ci(LEVEL, method='wilson')
  low, high = float(interval.low), float(interval.high)
  return Estimate(float(hits.mean()), low, high, len(hits), words)


def mcnemar(a, b) -> float:
  """Returns the p value of McNemar's exact test, which is two-sided.

  It tests whether a and b are right equally often on the same examples.

  Args:
    a, b: 0 or 1 [n], whether each is right. Examples on which both are right or
      both are wrong do not count; if there are no others, p is 1.

  Raises:
    ValueError: a and b differ in length, or are not all 0 or 1.
  """
  a, b = _paired(a, b)
  a, b = _binary('a', a), _binary('b', b)
  only_a, only_b = int((a > b).sum()), int((b > a).sum())
  if not only_a + only_b:
    return 1.0
  return float(_scipy().binomtest(only_a, only_a + only_b).pvalue)


def crossed(gains, *, seed: int = 0) -> Crossed:
  """Returns the mean of `gains` [models, tasks], resampling both.

  The interval is for other models on other tasks like these: each resample
  draws models and tasks with replacement, independently of each other. With few
  tasks it is rather too narrow.

  Raises:
    ValueError: gains are not a matrix of finite numbers.
  """
  gains = _finite('gains', gains, ndim=2)
  models, tasks = gains.shape
  words = f'bootstrap over {models} models and {tasks} tasks'
  if not gains.size:
    return Crossed(math.nan, math.nan, math.nan, 0, words, math.nan, 0)
  low = high = sd = math.nan
  if models > 1:
    sd = float(gains.mean(axis=1).std(ddof=1))
  if models > 1 and tasks > 1:
    rng = np.random.default_rng(seed)
    rows, columns = (
        rng.multinomial(size, np.full(size, 1 / size), CROSSED_RESAMPLES) / size
        for size in (models, tasks)
    )  # how often each is drawn, [resamples, size]
    means = ((rows @ gains) * columns).sum(axis=1)
    low, high = map(float, np.quantile(means, _TAILS))
  negative = int((gains < 0).sum())
  return Crossed(
      float(gains.mean()), low, high, gains.size, words, sd, negative
  )


def _scipy():
  from scipy import stats  # its import takes longer than most of its answers

  return stats


_TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def _bootstrap(values, seed):
  return (
      _scipy()
      .bootstrap(
          (values,),
          np.mean,
          n_resamples=RESAMPLES,
          batch=max(1, _DRAWN_AT_ONCE // len(values)),
          confidence_level=LEVEL,
          method='percentile',
          rng=np.random.default_rng(seed),
      )
      .confidence_interval
  )


def _student(values, seed):
  del seed  # there are no resamples
  return _scipy().ttest_1samp(values, 0).confidence_interval(LEVEL)


# The name in words, and a function from values and a seed to (low, high).
METHODS = {
    'bootstrap': ('percentile bootstrap', _bootstrap),
    'student': ("Student's interval", _student),
}


def _finite(name, values, *, ndim):
  values = np.asarray(values, np.float64)
  if values.ndim != ndim or not np.isfinite(values).all():
    raise ValueError(
        f'{name} must be finite numbers with {ndim} axes, got {values.ndim}'
        f' axes and {(~np.isfinite(values)).sum()} that are not finite'
    )
  return values


def _binary(name, values):
  if not np.isin(values, (0, 1)).all():
    raise ValueError(f'{name} must be 0 or 1, got {np.unique(values)[:5]}')
  return values


def _paired(a, b):
  a, b = _finite('a', a, ndim=1), _finite('b', b, ndim=1)
  if len(a) != len(b):
    raise ValueError(f'a and b must be of one length, got {len(a)}, {len(b)}')
  return a, b
