"""Unigram and bigram entropies of bytes, as baselines for language models."""

import numpy as np


def ngram_entropies(text: bytes) -> tuple[float, float]:
  """Returns H(X_t) and H(X_t | X_{t-1}) of the bytes of `text`, in bits.

  These are plug-in estimates from the counts of the text itself, and therefore
  a little too low: a model that reaches them on unseen text has learned at
  least as much.

  Raises:
    ValueError: the text has fewer than two bytes.
  """
  if len(text) < 2:
    raise ValueError(f'text must have at least 2 bytes, got {len(text)}')
  x = np.frombuffer(text, np.uint8).astype(np.int32)
  pairs = np.bincount(256 * x[:-1] + x[1:])
  previous = np.bincount(x[:-1])
  return _entropy(np.bincount(x)), _entropy(pairs) - _entropy(previous)


def _entropy(counts: np.ndarray) -> float:
  p = counts[counts > 0] / counts.sum()
  return float(-(p * np.log2(p)).sum())
