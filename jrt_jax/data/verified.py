"""Remembers in the user's cache which files matched their checksums.

The cache has an empty file, the mark, for each of them, so that processes do
not wait for each other. The name of a mark is a digest of the path, size,
modification time and inode of the file. Writing or copying a file changes at
least one of these; damage on the disk itself changes none.
"""

import hashlib
import pathlib

from jrt_jax.runtime import user_cache


def mark(path: pathlib.Path, sha256: str) -> pathlib.Path | None:
  """Returns the mark of a file: it exists if the file was verified.

  Returns None if the user has no cache; then nothing is remembered.

  Callers take the mark before they read the content: if the file changes while
  it is read, this mark does not count for the new content.
  """
  cache, stat = user_cache.folder(), path.stat()
  if cache is None:
    return None
  facts = (
      path.resolve(),
      stat.st_size,
      stat.st_mtime_ns,
      stat.st_ino,
      sha256,
  )
  name = hashlib.sha256(repr(facts).encode()).hexdigest()
  return cache / 'verified' / name


def is_set(mark: pathlib.Path | None) -> bool:
  """Whether the file of this mark was verified."""
  return mark is not None and mark.exists()


def remember(mark: pathlib.Path | None) -> None:
  """Sets a mark, if the user has a cache that can be written."""
  if mark is None:
    return
  try:
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
  except OSError:
    pass  # then the file is verified again next time


def forget(mark: pathlib.Path | None) -> None:
  """Removes a mark, if it is set."""
  if is_set(mark):
    mark.unlink(missing_ok=True)
