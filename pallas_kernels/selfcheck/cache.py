"""Keeps what was found on disk, for the same device, versions and source."""

from collections.abc import Mapping
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import tempfile
from typing import Any

import pallas_kernels

_SOURCE = pathlib.Path(pallas_kernels.__file__).parent


def folder() -> pathlib.Path | None:
  """Where it is kept, in the user's cache; None without a home.

  Source: the XDG Base Directory Specification.
  """
  caches = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  if not os.path.isabs(caches):
    return None
  return pathlib.Path(caches, 'pallas_kernels', 'selfcheck')


@functools.cache
def source_digest() -> str:
  """Of all programs and tables of tiles of this package."""
  digest = hashlib.sha256()
  files = [*_SOURCE.rglob('*.py'), *_SOURCE.glob('tile_tables/*/*.json')]
  for path in sorted(files):
    text = path.read_bytes()
    digest.update(f'{path.relative_to(_SOURCE)} {len(text)} '.encode() + text)
  return digest.hexdigest()


def load(key: Mapping[str, Any]) -> dict[str, Any] | None:
  """Returns what was saved under exactly this key, or None."""
  if (path := _path(key)) is None:
    return None
  try:
    entry = json.loads(path.read_bytes())
  except (OSError, ValueError, RecursionError):
    return None
  if not isinstance(entry, dict) or entry.pop('key', None) != key:
    return None
  return entry


def save(key: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
  """Keeps an entry, if there is a place for it."""
  if (path := _path(key)) is None:
    return
  with contextlib.suppress(OSError):
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    number, new = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(number, 'w') as file:
      json.dump({**entry, 'key': key}, file)
    os.replace(new, path)


def _path(key):
  name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
  return (place := folder()) and place / f'{name[:32]}.json'
