"""A split as one sequence of tokens, in memory or in memory-mapped files."""

from collections.abc import Iterable, Sequence
import zlib

import numpy as np

from jrt_jax.data import tokenizers


class TokenStream:
  """The concatenation of several arrays of tokens, which are not copied.

  `len(stream)` is the number of tokens; `stream[a:b]` is an int array of the
  tokens from a to b, and a view unless it spans two arrays.

  Args:
    arrays: int [n] each, in memory or memory-mapped; n may differ.
    checksum: identifies the content of `arrays`, or of the files that they are
      cut from.

  Attributes:
    arrays: the arrays.
    fingerprint: a short string that identifies the stream.
  """

  def __init__(self, arrays: Sequence[np.ndarray], checksum: str):
    self.arrays = arrays
    self._ends = np.cumsum([len(array) for array in arrays], dtype=np.int64)
    self.fingerprint = f'{len(self)} tokens {checksum}'

  def __len__(self) -> int:
    return int(self._ends[-1]) if len(self._ends) else 0

  def __getitem__(self, index: slice) -> np.ndarray:
    start, stop, step = index.indices(len(self))
    if step != 1:
      raise ValueError(f'tokens of a stream must be adjacent, got {step=}')
    pieces = cut(self.arrays, start, stop, self._ends)
    if len(pieces) == 1:
      return pieces[0]
    return np.concatenate([np.zeros(0, np.uint16), *pieces])


def cut(
    arrays: Sequence[np.ndarray],
    start: int,
    stop: int,
    ends: np.ndarray | None = None,
) -> list[np.ndarray]:
  """Returns views of the tokens from `start` to `stop` of concatenated arrays.

  Args:
    arrays: int [n] each; n may differ.
    start, stop: positions in the concatenation of `arrays`.
    ends: int64, the end of each array in the concatenation; None: computed.
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
  """Returns a stream of int [n], with a checksum over all tokens."""
  return TokenStream([tokens], f'{zlib.crc32(tokens):08x}')


def tokenize(
    documents: Iterable[tokenizers.Document],
    tokenizer: tokenizers.Bytes | tokenizers.TokenizerJson,
) -> np.ndarray:
  """Returns the ids of all documents, eos_id after each; skips empty ones.

  The result is [n], of `token_dtype`.
  """
  dtype = token_dtype(tokenizer.size)
  stream = bytearray()  # grows in place; joining arrays would need two copies
  for ids in tokenizer.stream(filter(None, documents)):
    stream += ids.astype(dtype).tobytes()
  return np.frombuffer(stream, dtype)


def token_dtype(size: int) -> np.dtype:
  """Returns the dtype that stores ids below `size`: uint16 or uint32."""
  return np.dtype(np.uint16 if size <= 2**16 else np.uint32)
