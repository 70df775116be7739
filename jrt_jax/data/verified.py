"""Remembers, in the user's cache, which files were what they should be.

There is an empty file for each of them, so that processes do not wait for each
other. Its name is a digest of the path, size, time of change and inode, of
which no writing and no copying leaves all as they were; what a disk loses by
itself leaves them.
"""

import hashlib
import pathlib

from jrt_jax.runtime import user_cache


def mark(path: pathlib.Path, sha256: str) -> pathlib.Path | None:
  """Returns the file that is there if `path`, as it is now, had `sha256`.

  None if the user has no cache: nothing is remembered then.

  Whoever looks at the content takes the mark first: a change while it is read
  is then another mark's.
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
  """Whether its file was what it should be."""
  return mark is not None and mark.exists()


def remember(mark: pathlib.Path | None) -> None:
  """Sets a mark, unless the user has no cache that can be written."""
  if mark is None:
    return
  try:
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
  except OSError:
    pass  # then the content is looked at again


def forget(mark: pathlib.Path | None) -> None:
  """Removes a mark, if it is set."""
  if is_set(mark):
    mark.unlink(missing_ok=True)
