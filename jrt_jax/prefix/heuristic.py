"""The entropy heuristic: complex text gets a longer prefix.

A signal is compared with thresholds. Each threshold that it exceeds raises the
level by one, and each level changes the prefix by a fixed ratio. Thresholds are
quantiles of the signal on a corpus, because values depend on the tokenizer and
on the length.

Source: the student report, section 4.1 (heuristic adjustment), whose
increments are 5 %, 10 % and 20 %. Levels, growth and bounds are ours.
"""

from collections.abc import Mapping, Sequence
import math

from absl import logging
import numpy as np
import tqdm

from jrt_jax.prefix import signals

GROWTHS = {
    'linear': lambda increment, level: 1 + increment * level,
    'geometric': lambda increment, level: (1 + increment) ** level,
}

# The keys on which thresholds depend, besides the corpus.
MEASURE = ('signal', 'window', 'aggregate', 'quantiles')


def check(prefix: Mapping) -> None:
  """Raises ValueError unless the quantiles of `config.prefix` increase."""
  if any(np.diff([0, *prefix['quantiles'], 1]) <= 0):
    raise ValueError(
        'config.prefix.quantiles must rise between 0 and 1, got'
        f' {prefix["quantiles"]}'
    )


def thresholds(windows: Sequence[np.ndarray], prefix: Mapping) -> list[float]:
  """The quantiles of the signal over windows of tokens, int [n] each."""
  progress = tqdm.tqdm(windows, 'signal', delay=1, leave=False, disable=None)
  values = [signals.measure(tokens, prefix) for tokens in progress]
  return np.quantile(values, prefix['quantiles']).tolist()


def level(value: float, limits: Sequence[float], *, reduce: bool) -> int:
  """Returns by how many steps a prefix is longer than usual.

  Args:
    value: the value of the signal.
    limits: the thresholds, ascending; level 0 is between the middle ones.
    reduce: whether there are levels below 0.
  """
  u = int(np.searchsorted(limits, value)) - len(limits) // 2
  return u if reduce else max(u, 0)


def length(u: int, room: int, prefix: Mapping) -> int:
  """Returns the tokens of a prefix of level `u`, at most `room`.

  The length lies between a quarter and the double of level 0; it is rounded to
  a multiple before these bounds apply.
  """
  base = prefix['base'] * room
  wanted = base * GROWTHS[prefix['growth']](prefix['increment'], u)
  multiple = prefix['multiple']
  rounded = multiple * math.floor(wanted / multiple + 0.5)
  return int(np.clip(rounded, base / 4, min(2 * base, room)))


def mean_length(capacity: int, prefix: Mapping) -> float:
  """The mean length for sequences like those that gave the thresholds."""
  shares = np.diff([0, *prefix['quantiles'], 1])
  return float(shares @ _lengths(capacity, prefix))


def longest(capacity: int, prefix: Mapping) -> int:
  """The length of the highest level, for a sequence of full length."""
  return _lengths(capacity, prefix)[-1]


def warn_of_rounding(capacity: int, prefix: Mapping) -> None:
  """Warns if a level is less than half of the rounding multiple."""
  step = prefix['increment'] * prefix['base'] * capacity
  if step < prefix['multiple'] / 2:
    logging.warning(
        'config.prefix.multiple=%d rounds away the increment, which is %.3g'
        ' tokens: raise config.prefix.increment or lower the multiple',
        prefix['multiple'],
        step,
    )


def _lengths(capacity, prefix):
  """The prefix lengths of all levels, from the lowest signal up."""
  count = len(prefix['quantiles'])
  levels = np.arange(count + 1) - count // 2
  if not prefix['reduce']:
    levels = np.maximum(levels, 0)
  return [length(int(u), capacity, prefix) for u in levels]
