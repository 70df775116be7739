"""Counts pairs of adjacent tokens in a stream of any length."""

import numpy as np

from jrt_jax.data import recallable_tokens
from jrt_jax.data import streams
from jrt_jax.reporting.progress import progress_bar

BLOCK = 2**20  # tokens of a block


def count(tokens: streams.TokenStream, pairs: np.ndarray) -> np.ndarray:
  """Counts how often each pair occurs in a stream, also across documents.

  Memory grows with the number of pairs, not with the stream.

  Args:
    tokens: a stream.
    pairs: int64 of any shape, as `recallable_tokens.pairs` makes them.

  Returns:
    int64, in the shape of `pairs`.
  """
  asked, place = np.unique(pairs.ravel(), return_inverse=True)
  counts = np.zeros(len(asked), np.int64)
  progress = progress_bar(
      total=len(tokens), desc='counting pairs', unit='tok', unit_scale=True
  )
  with progress as bar:
    for start in range(0, len(tokens), BLOCK):
      # The last pair of a block ends with the first token of the next one.
      window = tokens[start : start + BLOCK + 1]
      block = recallable_tokens.pairs(window[None])[0]
      at = np.searchsorted(asked, block).clip(max=len(asked) - 1)
      counts += np.bincount(at[asked[at] == block], minlength=len(asked))
      bar.update(min(BLOCK, len(tokens) - start))
  return counts[place].reshape(pairs.shape)
