"""Digests that tell a model from another one of the same name."""

import hashlib
import json
import pathlib
import types

_WEIGHTS = ('.safetensors', '.bin', '.gguf')


def of_module(module: types.ModuleType) -> str | None:
  """Returns the digest of a module's file; None if it has none.

  What the module imports or reads may still change unnoticed.
  """
  path = getattr(module, '__file__', None)
  return path and _digest(pathlib.Path(path).read_bytes())


def of_weights(path: pathlib.Path) -> str:
  """Returns the digest of what is known of a model without reading it.

  That is the names, sizes and times of its files of weights.

  Args:
    path: of such a file, or of a folder of them.
  """
  files = [path] if path.is_file() else sorted(path.iterdir())
  found = [
      (x.name, x.stat().st_size, x.stat().st_mtime_ns)
      for x in files
      if x.suffix in _WEIGHTS
  ]
  return _digest(json.dumps(found).encode())


def _digest(content):
  return hashlib.sha256(content).hexdigest()[:16]
