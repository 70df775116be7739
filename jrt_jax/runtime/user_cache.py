"""The folder of this package in the user's cache."""

import os
import pathlib


def folder() -> pathlib.Path | None:
  """Returns the folder of this package in the cache; it may not exist yet.

  Returns None without a home directory, or if XDG_CACHE_HOME is relative; then
  nothing is cached.

  Source: the XDG Base Directory Specification.
  """
  caches = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return pathlib.Path(caches, 'jrt_jax') if os.path.isabs(caches) else None
