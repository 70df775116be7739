"""A split as one sequence of tokens: in memory, or files that are mapped."""

from collections.abc import Iterable, Sequence
import zlib

import numpy as np

from jrt_jax.data import tokenizers


class TokenStream:
  """Arrays of tokens end to end, none of them copied.

  `len(stream)` is the number of tokens; `stream[a:b]` is an int array of those
  from a to b, a view unless it spans two arrays.

  Args:
    arrays: int [n], in memory or memory-mapped; n may differ.
    checksum: differs between the contents of `arrays`, or of what they are cut
      from.

  Attributes:
    fingerprint: what tells this stream from others, a short string.
  """

  def __init__(self, arrays: Sequence[np.ndarray], checksum: str):
    self._arrays = arrays
    self._ends = np.cumsum([len(array) for array in arrays], dtype=np.int64)
    self.fingerprint = f'{len(self)} tokens {checksum}'

  def __len__(self) -> int:
    return int(self._ends[-1]) if len(self._ends) else 0

  def __getitem__(self, index: slice) -> np.ndarray:
    start, stop, step = index.indices(len(self))
    if step != 1:
      raise ValueError(f'tokens of a stream must be adjacent, got {step=}')
    pieces = cut(self._arrays, start, stop, self._ends)
    if len(pieces) == 1:
      return pieces[0]
    return np.concatenate([np.zeros(0, np.uint16), *pieces])


def cut(
    arrays: Sequence[np.ndarray],
    start: int,
    stop: int,
    ends: np.ndarray | None = None,
) -> list[np.ndarray]:
  """Returns views of the tokens from `start` to `stop` of arrays end to end.

  Args:
    arrays: int [n], n may differ.
    start, stop: places in the concatenation of `arrays`.
    ends: int64, where each array ends there; None: they are counted.
  """
  if ends is None:
    ends = np.cumsum([len(array) for array in arrays], dtype=np.int64)
  pieces = []
  i = int(np.searchsorted(ends, start, side='right'))
  while start < stop:
    first = int(ends[i]) - len(arrays[i])
    if len(arrays[i]):
      pieces.append(arrays[i][start - first : stop - first])
    start = int(ends[i])
    i += 1
  return pieces


def in_memory(tokens: np.ndarray) -> TokenStream:
  """Returns a stream of int [n] that is told from others by all of them."""
  return TokenStream([tokens], f'{zlib.crc32(tokens):08x}')


def tokenize(
    documents: Iterable[tokenizers.Document],
    tokenizer: tokenizers.Bytes | tokenizers.TokenizerJson,
) -> np.ndarray:
  """Returns the ids of documents, each followed by eos_id, without empty ones.

  They are int [n] of `token_dtype`.
  """
  dtype = token_dtype(tokenizer.size)
  stream = bytearray()  # grows in place: joining arrays would hold two copies
  for ids in tokenizer.stream(filter(None, documents)):
    stream += ids.astype(dtype).tobytes()
  return np.frombuffer(stream, dtype)


def token_dtype(size: int) -> np.dtype:
  """Returns the dtype that stores ids below `size`: uint16 or uint32."""
  return np.dtype(np.uint16 if size <= 2**16 else np.uint32)
