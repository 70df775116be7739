"""The policy `entropy`: longer prefixes for text with a larger signal."""

from configs import base
from jrt_jax.prefix import heuristic
from jrt_jax.prefix import policy
from jrt_jax.prefix import signals
from jrt_jax.schema import ListOf
from jrt_jax.schema import Real
from jrt_jax.schema import Whole


def _length(example):
  """The prefix length, from the signal of the whole window.

  The window includes tokens after the prefix; in generation there is only the
  prompt.
  """
  prefix = example.prefix
  u = heuristic.level(
      signals.measure(example.tokens, prefix),
      prefix['fitted']['thresholds'],
      reduce=prefix['reduce'],
  )
  return heuristic.length(u, example.room, prefix)


def _capacity(prefix, sequence_length):
  heuristic.check(prefix)
  return policy.share(prefix, sequence_length)


def _fields():
  ranges = base.RANGES.keys['prefix'].keys
  optional = {key: ranges[key] for key in heuristic.MEASURE}
  thresholds = ListOf(Real(-(10**9), 10**9), 1, 100)
  return {'thresholds': thresholds}, {'windows': Whole(1, 10**9), **optional}


def _calibrate(windows, prefix):
  return {
      'thresholds': heuristic.thresholds(windows, prefix),
      'windows': len(windows),
      **{key: prefix[key] for key in heuristic.MEASURE},
  }


ENTROPY = policy.Policy(
    _length,
    settings=(
        'capacity',
        'file',
        *heuristic.MEASURE,
        *('base', 'increment', 'growth', 'reduce', 'multiple'),
    ),
    capacity=_capacity,
    longest=lambda prefix, capacity, _: heuristic.longest(capacity, prefix),
    mean=lambda prefix, capacity, _: heuristic.mean_length(capacity, prefix),
    reads_prompt=True,
    fit=policy.Fit(
        _fields,
        rising='thresholds',
        written_by='jrt_jax.prefix.calibrate',
        measured=heuristic.MEASURE,
        calibrate=_calibrate,
        warn=heuristic.warn_of_rounding,
        of_windows=True,
    ),
)
