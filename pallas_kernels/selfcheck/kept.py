"""Remembers passed checks, so that a machine is checked once.

Only a pass is stored, and it is valid as long as nothing changes on which it
depends. A failure is checked again by the next process, because the GPU may
have been busy. The processes of a machine check in turn.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import socket
import tempfile
from typing import Any

import pallas_kernels
from pallas_kernels.benchmarks import machine

_MOST_BYTES = 2**16
# They trace, lower, assemble and launch the kernels.
_PACKAGES = (
    'jax',
    'jaxlib',
    'jax-cuda12-plugin',
    'jax-cuda13-plugin',
    'nvidia-cuda-nvcc',
    'nvidia-cuda-nvcc-cu12',
)


def about(V: int, gpu: Mapping[str, str]) -> dict[str, Any]:
  """Returns everything on which a pass depends, as JSON.

  Args:
    gpu: the kind and the driver of the GPU, by any names.
  """
  return {
      'V': V,
      'gpu': dict(gpu),
      'versions': machine.versions(_PACKAGES),
      'source': _digest_of_source(),
  }


def has(folder: pathlib.Path, passed: Mapping[str, Any]) -> bool:
  """Whether this check has passed; an unreadable file means no."""
  try:
    with open(_file(folder, passed), 'rb') as file:
      return json.loads(file.read(_MOST_BYTES)) == passed
  except (OSError, ValueError, RecursionError):
    return False


def add(folder: pathlib.Path, passed: Mapping[str, Any]) -> None:
  """Stores a pass, if the folder is writable; creates the folder if necessary.

  Args:
    folder: the folder of passes.
    passed: the result of `about`.
  """
  with contextlib.suppress(OSError):
    _make(folder)
    with tempfile.TemporaryDirectory(dir=folder) as own:  # always removed
      file = pathlib.Path(own, 'new')
      file.write_text(json.dumps(passed, indent=2))
      os.replace(file, _file(folder, passed))


@contextlib.contextmanager
def turn(folder: pathlib.Path, on_wait: Callable[[], object]) -> Iterator[None]:
  """Waits until no other process of this machine is in such a block.

  If the folder cannot be written or locked, no process waits.

  Args:
    folder: the folder of `add`; machines that share it do not wait for each
      other.
    on_wait: called once if the process has to wait.
  """
  with contextlib.ExitStack() as stack:
    with contextlib.suppress(OSError):
      _make(folder)
      name = f'{socket.gethostname()}.lock'
      file = stack.enter_context(open(folder / name, 'w'))
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        on_wait()
        fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _make(folder):
  folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _file(folder, passed):
  text = json.dumps(passed, sort_keys=True)
  return folder / f'{hashlib.sha256(text.encode()).hexdigest()[:16]}.json'


def _digest_of_source():
  """A digest of all modules and tables of tiles of this package."""
  package = pathlib.Path(pallas_kernels.__file__).parent
  digest = hashlib.sha256()
  files = [*package.rglob('*.py'), *package.glob('tile_tables/*/*.json')]
  for file in sorted(files):
    digest.update(f'{file.relative_to(package)}\n'.encode())
    digest.update(hashlib.sha256(file.read_bytes()).digest())
  return digest.hexdigest()
