"""Signals: measures of how complex a window of tokens is.

A signal of `SIGNALS` is a function from int [n] to a float. Its values cannot
be compared between windows of different lengths: few tokens cannot have a high
entropy.

Source: the student report, section 4.1 (entropy-based complexity assessment),
which does not say of which distribution the entropy is.
"""

from collections.abc import Callable, Mapping
import math
import zlib

import numpy as np

Signal = Callable[[np.ndarray], float]


def unigram_entropy(tokens: np.ndarray, *, miller_madow: bool = True) -> float:
  """H(x_t) of the window's own counts, in bits.

  Args:
    tokens: int [n].
    miller_madow: whether to add (K - 1) / 2n nats, where K is the number of
      distinct tokens: this corrects the bias of the estimate to first order.

  Source: Miller 1955, Note on the bias of information estimates.
  """
  if not len(tokens):
    return 0.0
  counts = _counts(tokens)
  bias = (len(counts) - 1) / (2 * len(tokens) * math.log(2))
  return _entropy(counts) + miller_madow * bias


def conditional_entropy(tokens: np.ndarray) -> float:
  """H(x_t | x_{t-1}) of the window's own counts, in bits.

  It is higher for lists of keys and values than for prose; the unigram entropy
  is lower.
  """
  tokens = np.asarray(tokens, np.int64)
  pairs = tokens[:-1] << 32 | tokens[1:]
  return _entropy(_counts(pairs)) - _entropy(_counts(tokens[:-1]))


def compression_ratio(tokens: np.ndarray) -> float:
  """The bytes of the tokens compressed by zlib, relative to 4 for each."""
  raw = np.asarray(tokens, '<u4').tobytes()
  return len(zlib.compress(raw)) / max(len(raw), 1)


def distinct_ratio(tokens: np.ndarray) -> float:
  """The number of distinct tokens divided by the number of tokens."""
  return len(np.unique(tokens)) / max(len(tokens), 1)


SIGNALS = {
    'unigram_entropy': unigram_entropy,
    'conditional_entropy': conditional_entropy,
    'compression_ratio': compression_ratio,
    'distinct_ratio': distinct_ratio,
}


AGGREGATES = {
    'mean': np.mean,
    'max': np.max,
    'p90': lambda values: np.quantile(values, 0.9),
}


def windowed(
    signal: Signal, tokens: np.ndarray, *, width: int, aggregate: str
) -> float:
  """Aggregates a signal over windows that overlap by one half.

  Args:
    tokens: int [n]; the last window ends at the last token.
    width: the tokens of a window; 0, or n and more, means a single window.
    aggregate: a key of `AGGREGATES`.
  """
  n = len(tokens)
  if not 0 < width < n:
    return signal(tokens)
  starts = [*range(0, n - width, max(width // 2, 1)), n - width]
  values = [signal(tokens[start : start + width]) for start in starts]
  return float(AGGREGATES[aggregate](values))


def measure(tokens: np.ndarray, prefix: Mapping) -> float:
  """The value of the signal that `config.prefix` names, for int [n]."""
  return windowed(
      SIGNALS[prefix['signal']],
      tokens,
      width=prefix['window'],
      aggregate=prefix['aggregate'],
  )


def _counts(x):
  return np.unique(x, return_counts=True)[1]


def _entropy(counts):
  p = counts / max(counts.sum(), 1)
  return float(-(p * np.log2(p)).sum())
