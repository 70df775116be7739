"""Records where a result comes from, and writes JSON files."""

from collections.abc import Mapping
import datetime
import json
import math
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

import jax
import numpy as np

import jrt_jax
from jrt_jax import atomic_write

_ROOT = pathlib.Path(jrt_jax.__file__).parents[1]
# Their versions are recorded if the process has loaded them.
_LIBRARIES = ('jax', 'jaxlib', 'numpy', 'torch', 'transformers')


def describe(*, on_jax: bool) -> dict[str, Any]:
  """Returns `hardware`, `versions`, `commit` and `date` of this process.

  Args:
    on_jax: whether jax is used for the computation; see `hardware`.
  """
  return {
      'hardware': hardware(on_jax=on_jax),
      'versions': versions(),
      'commit': commit(),
      'date': datetime.datetime.now().astimezone().isoformat('T', 'minutes'),
  }


def hardware(*, on_jax: bool) -> str:
  """Returns a description of the devices of jax, or of the processor.

  Args:
    on_jax: whether jax is used for the computation. If not, its devices are not
      opened, as another library may need their memory.
  """
  if on_jax and jax.default_backend() != 'cpu':
    return f'{jax.device_count()} x {jax.devices()[0].device_kind}'
  return f'{os.cpu_count()}-core {platform.machine()} CPU'


def versions() -> dict[str, str]:
  """Returns the versions of this package, of Python and of loaded libraries."""
  loaded = {name: sys.modules.get(name) for name in _LIBRARIES}
  return {
      'jrt_jax': jrt_jax.__version__,
      'python': platform.python_version(),
      **{name: x.__version__ for name, x in loaded.items() if x},
  }


def commit(root: pathlib.Path = _ROOT) -> str | None:
  """Returns the commit of a git checkout, with a + if files have changed.

  Returns None if the folder itself is not a checkout; one around it would
  belong to another project.
  """
  if not (root / '.git').exists():
    return None
  command = ['git', 'describe', '--always', '--exclude=*', '--dirty=+']
  try:
    done = subprocess.run(
        [*command, '--abbrev=12'],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip()


def command(module: str) -> str:
  """Returns the command line of this process, whose entry point is `module`."""
  return shlex.join(['python', '-m', module, *sys.argv[1:]])


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes `plain(value)` as JSON in UTF-8; replaces the file atomically.

  Raises:
    OSError: the file cannot be written.
    TypeError: the value contains something that is neither JSON nor an array.
  """
  content = json.dumps(plain(value), indent=1, allow_nan=False)
  atomic_write.text(path, f'{content}\n')


def plain(value: Any) -> Any:
  """Returns a JSON value: arrays become lists, NaN and infinity None."""
  if hasattr(value, '_asdict'):
    return plain(value._asdict())
  if isinstance(value, Mapping):
    return {str(key): plain(item) for key, item in value.items()}
  if isinstance(value, (np.ndarray, np.generic)):
    return plain(value.tolist())
  if isinstance(value, (list, tuple)):
    return [plain(item) for item in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
