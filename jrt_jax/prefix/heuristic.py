"""The entropy heuristic: complex text gets a longer prefix.

A signal is compared with thresholds; each one that it passes is a level, and
each level changes the prefix by a preset ratio. Thresholds are quantiles of the
signal on a corpus, for values depend on the tokenizer and on the length.

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

# What thresholds depend on, besides the corpus.
MEASURE = ('signal', 'window', 'aggregate', 'quantiles')


def check(prefix: Mapping) -> None:
  """Raises ValueError unless the quantiles of `config.prefix` rise."""
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
  """How many steps longer than usual a prefix is to be.

  Args:
    value: of the signal.
    limits: the thresholds, ascending; between the middle ones is level 0.
    reduce: whether there are levels below 0.
  """
  u = int(np.searchsorted(limits, value)) - len(limits) // 2
  return u if reduce else max(u, 0)


def length(u: int, room: int, prefix: Mapping) -> int:
  """The tokens of a prefix of level `u`, at most `room`.

  They lie between a quarter of level 0 and its double; rounding to multiples
  comes before these bounds.
  """
  base = prefix['base'] * room
  wanted = base * GROWTHS[prefix['growth']](prefix['increment'], u)
  multiple = prefix['multiple']
  rounded = multiple * math.floor(wanted / multiple + 0.5)
  return int(np.clip(rounded, base / 4, min(2 * base, room)))


def mean_length(capacity: int, prefix: Mapping) -> float:
  """The mean over text like that of the thresholds, of full length."""
  shares = np.diff([0, *prefix['quantiles'], 1])
  return float(shares @ _lengths(capacity, prefix))


def longest(capacity: int, prefix: Mapping) -> int:
  """The length of the top level, of text of full length."""
  return _lengths(capacity, prefix)[-1]


def warn_of_rounding(capacity: int, prefix: Mapping) -> None:
  """Warns if a level is less than half of what lengths are rounded to."""
  step = prefix['increment'] * prefix['base'] * capacity
  if step < prefix['multiple'] / 2:
    logging.warning(
        'config.prefix.multiple=%d swallows the increment, which is %.3g'
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
