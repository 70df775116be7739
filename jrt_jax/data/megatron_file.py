"""Memory-maps token files of Megatron-LM and GPT-NeoX, and writes their index.

PREFIX.bin is the concatenation of sequences of tokens, and PREFIX.idx is their
index. All its numbers are little-endian:
  9 bytes: MMIDIDX and two zeros
  uint64: version, 1
  uint8: the dtype of tokens, a key of `_DTYPES`
  uint64, uint64: N sequences, and D ends of documents
  int32 [N]: tokens of each sequence
  int64 [N]: where each sequence begins in PREFIX.bin, in bytes
  int64 [D]: 0, then the number of sequences up to the end of each document
"""

import os
import pathlib
import struct
import zlib

import numpy as np

from jrt_jax import atomic_write

_DTYPES = {
    1: np.uint8,
    2: np.int8,
    3: np.int16,
    4: np.int32,
    5: np.int64,
    8: np.uint16,
}
_HEADER = struct.Struct('<9sQBQQ')
_MAGIC = b'MMIDIDX\x00\x00'
_BLOCK = 2**20  # sequences, tokens or bytes at once: files can be large
_LONGEST = 2**31 - 1  # tokens of a sequence


class MegatronFile:
  """A pair of .bin and .idx files, whose index is checked.

  Args:
    prefix: the path of both without .bin and .idx.

  Attributes:
    tokens: int [n], memory-mapped.
    checksum: a checksum of the index.

  Raises:
    ValueError: the index is broken, or does not fit the .bin file.
    FileNotFoundError: there is no .bin file.
  """

  def __init__(self, prefix: str):
    self.index, self.bin = f'{prefix}.idx', f'{prefix}.bin'
    if not os.path.isfile(self.bin):
      raise FileNotFoundError(
          f'{self.bin} does not exist, although {self.index} does'
      )
    dtype, N, D = self._header()
    size = os.path.getsize(self.index)
    expected = _HEADER.size + 12 * N + 8 * D
    if size != expected:
      raise ValueError(
          f'{self.index}: must have {expected} bytes for its {N} sequences and'
          f' {D} ends of documents, got {size}'
      )
    self._sizes = self._array(np.int32, N, _HEADER.size)
    self._pointers = self._array(np.int64, N, _HEADER.size + 4 * N)
    self._ends = self._array(np.int64, D, _HEADER.size + 12 * N)
    self._check_sequences(dtype.itemsize)
    self._check_documents()
    self.tokens = mapped(self.bin, dtype)
    self.checksum = self._crc()

  def num_documents(self) -> int:
    """Returns the number of documents."""
    return len(self._ends) - 1

  def end(self, document: int) -> int:
    """Returns the position in `tokens` where a document ends."""
    sequence = int(self._ends[document + 1])
    if sequence == len(self._pointers):
      return len(self.tokens)
    return int(self._pointers[sequence]) // self.tokens.itemsize

  def _header(self):
    with open(self.index, 'rb') as file:
      header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
      raise ValueError(f'{self.index}: not an index of Megatron-LM or GPT-NeoX')
    _, version, code, N, D = _HEADER.unpack(header)
    if version != 1:
      raise ValueError(f'{self.index}: version must be 1, got {version}')
    if code not in _DTYPES:
      raise ValueError(
          f'{self.index}: the code of its dtype must be one of'
          f' {", ".join(map(str, _DTYPES))}, got {code}'
      )
    return np.dtype(_DTYPES[code]), N, D

  def _array(self, dtype, length, offset):
    dtype = np.dtype(dtype).newbyteorder('<')
    if not length:
      return np.zeros(0, dtype)
    return np.asarray(np.memmap(self.index, dtype, 'r', offset, length))

  def _check_sequences(self, itemsize):
    """Checks that sequences follow each other and fill the .bin file."""
    end = 0
    for i in range(0, len(self._sizes), _BLOCK):
      sizes = self._sizes[i : i + _BLOCK].astype(np.int64) * itemsize
      ends = end + np.cumsum(sizes)
      wrong = (self._pointers[i : i + _BLOCK] != ends - sizes) | (sizes < 0)
      if wrong.any():
        raise ValueError(
            f'{self.index}: sequence {i + int(wrong.argmax())} must begin where'
            ' the one before it ends'
        )
      end = int(ends[-1])
    if (size := os.path.getsize(self.bin)) != end:
      raise ValueError(f'{self.bin} must have {end} bytes, got {size}')

  def _check_documents(self):
    ends, N = self._ends, len(self._sizes)
    ordered = all(
        (np.diff(ends[i : i + _BLOCK + 1]) >= 0).all()
        for i in range(0, len(ends), _BLOCK)
    )
    if not len(ends) or not ordered or ends[0] != 0 or ends[-1] != N:
      raise ValueError(
          f'{self.index}: the ends of documents must rise from 0 to {N}, the'
          ' number of sequences'
      )

  def _crc(self):
    crc = 0
    with open(self.index, 'rb') as file:
      while block := file.read(_BLOCK):
        crc = zlib.crc32(block, crc)
    return crc


def mapped(path: str | pathlib.Path, dtype: np.dtype | str) -> np.ndarray:
  """Returns the tokens of a .bin file, [n], little-endian and memory-mapped."""
  dtype = np.dtype(dtype).newbyteorder('<')
  if not os.path.getsize(path):
    return np.zeros(0, dtype)
  return np.asarray(np.memmap(path, dtype, 'r'))


def write_index(path: pathlib.Path, tokens: np.ndarray, eos_id: int) -> None:
  """Writes the .idx file of tokens, in which every `eos_id` ends a document.

  A document is one sequence, or several if it has too many tokens for one.

  Args:
    path: the .idx file, which appears when it is complete.
    tokens: uint16 or uint32 [n], the content of the .bin file; the last token
      is `eos_id`.
    eos_id: the end of text.
  """
  blocks = range(0, len(tokens), _BLOCK)
  documents = np.concatenate(
      [i + 1 + np.flatnonzero(tokens[i : i + _BLOCK] == eos_id) for i in blocks]
  )
  full = np.arange(_LONGEST, len(tokens), _LONGEST)
  sequences = np.union1d(documents, full)
  sizes = np.diff(sequences, prepend=0)
  ends = np.insert(np.searchsorted(sequences, documents) + 1, 0, 0)
  # There is no code for uint32; ids are small enough for int32.
  code = {2: 8, 4: 4}[tokens.itemsize]
  with atomic_write.replacing(path, durable=True) as new:
    new.write_bytes(
        _HEADER.pack(_MAGIC, 1, code, len(sizes), len(ends))
        + sizes.astype('<i4').tobytes()
        + ((sequences - sizes) * tokens.itemsize).astype('<i8').tobytes()
        + ends.astype('<i8').tobytes()
    )
