"""Cuts a stream of tokens into windows."""

import numpy as np

from jrt_jax.data import streams


class UnknownId(ValueError):
  """The data has an id that the tokenizer does not have."""


class Windows:
  """Windows int [L + 1]; the last token of one is the first of the next.

  Args:
    tokens: a stream; it is not copied, and windows are views of it.
    sequence_length: L.
    num_ids: the number of ids of the tokenizer.

  Raises:
    UnknownId: a window that is read has an id that the tokenizer does not have.
  """

  def __init__(
      self, tokens: streams.TokenStream, sequence_length: int, num_ids: int
  ):
    self._tokens = tokens
    self._length = sequence_length
    self._num_ids = num_ids

  def __len__(self) -> int:
    return max(len(self._tokens) - 1, 0) // self._length

  def __getitem__(self, i: int) -> np.ndarray:
    start = i * self._length
    window = self._tokens[start : start + self._length + 1]
    unknown = np.flatnonzero((window < 0) | (window >= self._num_ids))
    if len(unknown):
      raise UnknownId(
          'the data must have ids of its tokenizer only, in'
          f' [0, {self._num_ids}), got {window[unknown[0]]} at token'
          f' {start + unknown[0]:,}: prepare the data again'
      )
    return window
