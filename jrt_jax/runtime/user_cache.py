"""Where a user keeps what can be made again."""

import os
import pathlib


def folder() -> pathlib.Path | None:
  """Returns this package's folder in the user's cache; it may not exist yet.

  None without a home, or if XDG_CACHE_HOME is relative: nothing is kept then.

  Source: the XDG Base Directory Specification.
  """
  caches = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return pathlib.Path(caches, 'jrt_jax') if os.path.isabs(caches) else None
