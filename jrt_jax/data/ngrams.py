"""Finds n-grams of words that two texts share, as hashes in sorted arrays."""

from collections.abc import Iterable
import functools
import hashlib
import re

import numpy as np

_WORD = re.compile(r'\w+')
_BASE = 0x9E3779B97F4A7C15  # odd, so that multiplication loses no bits


def hashes(text: str, n: int) -> np.ndarray:
  """Returns the hash of each n-gram, uint64 [words - n + 1] or [0].

  Words are lower-cased runs of letters, digits and _; punctuation and spaces
  are ignored.
  """
  words = [_hash(word) for word in _WORD.findall(text.lower())]
  words = np.array(words, np.uint64)
  count = max(len(words) - n + 1, 0)
  result = np.zeros(count, np.uint64)
  for i in range(n):  # modulo 2^64
    result = result * np.uint64(_BASE) + words[i : i + count]
  return result


def strings(value: object) -> Iterable[str]:
  """Yields every string in a JSON value, except keys."""
  if isinstance(value, str):
    yield value
  elif isinstance(value, (list, dict)):
    inside = value.values() if isinstance(value, dict) else value
    for each in inside:
      yield from strings(each)


def distinct(text: str, n: int) -> np.ndarray:
  """Returns the distinct hashes of a text's n-grams, uint64 [k], sorted."""
  return np.unique(hashes(text, n))


class Rows:
  """The n-grams of rows, and the number of documents that contain each.

  Memory is about 20 bytes for each n-gram of the rows.

  Attributes:
    grams: uint64 [G], the distinct n-grams, sorted.
    of_row: for each row, the indices of its distinct n-grams, int32 [g].
    found: int32 [G], number of documents; the caller counts them.
  """

  def __init__(self, rows: Iterable[object], n: int):
    """Takes rows as JSON values; an n-gram lies within one string."""
    nothing, own = np.zeros(0, np.uint64), []
    for row in rows:
      parts = [hashes(text, n) for text in strings(row)]
      own.append(np.unique(np.concatenate([nothing, *parts])))
    self.grams = np.unique(np.concatenate([nothing, *own]))
    self.of_row = [np.searchsorted(self.grams, x).astype(np.int32) for x in own]
    self.found = np.zeros(len(self.grams), np.int32)

  def shared(self, own: np.ndarray) -> np.ndarray:
    """Returns the indices of the n-grams that are in `own`, uint64 [k]."""
    place = np.searchsorted(self.grams, own)
    inside = place < len(self.grams)
    place = place[inside]
    return place[self.grams[place] == own[inside]]

  def counted(self, common: int) -> np.ndarray:
    """Bool [G], which are in at most `common` documents; 0: in any number."""
    most = common or np.iinfo(np.int32).max
    return (self.found > 0) & (self.found <= most)

  def having(self, which: np.ndarray | None) -> int:
    """Returns how many rows have an n-gram of `which`, bool [G].

    None: how many rows have no n-gram at all.
    """
    if which is None:
      return sum(not len(x) for x in self.of_row)
    return sum(bool(which[x].any()) for x in self.of_row)


@functools.lru_cache(maxsize=2**20)
def _hash(word):
  digest = hashlib.blake2b(word.encode(errors='replace'), digest_size=8)
  return int.from_bytes(digest.digest(), 'little')
