"""Remembers, in the user's cache, which files were what they should be.

There is an empty file for each of them, so that processes do not wait for each
other. Its name is a digest of the path, size, time of change and inode, of
which no writing and no copying leaves all as they were; what a disk loses by
itself leaves them.
"""

import hashlib
import os
import pathlib


def mark(path: pathlib.Path, sha256: str) -> pathlib.Path:
  """Returns the file that is there if `path`, as it is now, had `sha256`.

  Whoever looks at the content takes the mark first: a change while it is read
  is then another mark's.
  """
  stat = path.stat()
  facts = (
      path.resolve(),
      stat.st_size,
      stat.st_mtime_ns,
      stat.st_ino,
      sha256,
  )
  name = hashlib.sha256(repr(facts).encode()).hexdigest()
  return _folder() / name


def remember(mark: pathlib.Path) -> None:
  """Sets a mark, unless the user has no cache that can be written."""
  try:
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
  except OSError:
    pass  # then the content is looked at again


def _folder():
  cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  return pathlib.Path(cache).expanduser() / 'jrt_jax' / 'verified'
