"""Where a result comes from, and JSON files that say it."""

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
# Those that a process has loaded have a part in its results.
_LIBRARIES = ('jax', 'jaxlib', 'numpy', 'torch', 'transformers')


def describe(*, on_jax: bool) -> dict[str, Any]:
  """Returns `hardware`, `versions`, `commit` and `date`, of this process.

  Args:
    on_jax: whether jax computes; see `hardware`.
  """
  return {
      'hardware': hardware(on_jax=on_jax),
      'versions': versions(),
      'commit': commit(),
      'date': datetime.datetime.now().astimezone().isoformat('T', 'minutes'),
  }


def hardware(*, on_jax: bool) -> str:
  """Returns the devices of jax, or the processor.

  Args:
    on_jax: whether jax computes. Its devices are left alone if not: another
      library may need their memory.
  """
  if on_jax and jax.default_backend() != 'cpu':
    return f'{jax.device_count()} x {jax.devices()[0].device_kind}'
  return f'{os.cpu_count()}-core {platform.machine()} CPU'


def versions() -> dict[str, str]:
  """Returns versions of the package, of Python, and of loaded libraries."""
  loaded = {name: sys.modules.get(name) for name in _LIBRARIES}
  return {
      'jrt_jax': jrt_jax.__version__,
      'python': platform.python_version(),
      **{name: x.__version__ for name, x in loaded.items() if x},
  }


def commit(root: pathlib.Path = _ROOT) -> str | None:
  """Returns the commit of a checkout, with a + if files differ from it.

  None if the folder is no checkout itself: one around it is another project's.
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
  """Writes what `plain` makes of a value, in UTF-8.

  A reader finds either the old file or the new one.

  Raises:
    OSError: the file cannot be written.
    TypeError: something in it is neither JSON nor an array.
  """
  content = json.dumps(plain(value), indent=1, allow_nan=False)
  atomic_write.text(path, f'{content}\n')


def plain(value: Any) -> Any:
  """Returns a value as JSON has it: no arrays, None for what is not finite."""
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
