"""Digests that differ between models of the same name."""

import hashlib
import json
import pathlib
import types

_WEIGHTS = ('.safetensors', '.bin', '.gguf')


def of_module(module: types.ModuleType) -> str | None:
  """Returns the digest of a module's file; None if it has no file.

  Changes of what the module imports or reads are not noticed.
  """
  path = getattr(module, '__file__', None)
  return path and _digest(pathlib.Path(path).read_bytes())


def of_weights(path: pathlib.Path) -> str:
  """Returns a digest of a model, without reading its weights.

  It is computed from the names, sizes and times of the files.

  Args:
    path: a file of weights, or a folder of them.
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
