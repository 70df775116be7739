"""What has passed, kept so that a machine is asked once.

Only that the kernels may run is kept, for as long as nothing changes that it
depends on. What has failed is asked again by the next process: a GPU may have
been busy. Processes of one machine ask in turn.
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
  """Returns all that it depends on whether the kernels may run: JSON.

  Args:
    V: the width of values.
    gpu: its kind and its driver, by any names.
  """
  return {
      'V': V,
      'gpu': dict(gpu),
      'versions': machine.versions(_PACKAGES),
      'source': _digest_of_source(),
  }


def has(folder: pathlib.Path, passed: Mapping[str, Any]) -> bool:
  """Whether the same has passed; what cannot be read has not."""
  try:
    with open(_file(folder, passed), 'rb') as file:
      return json.loads(file.read(_MOST_BYTES)) == passed
  except (OSError, ValueError, RecursionError):
    return False


def add(folder: pathlib.Path, passed: Mapping[str, Any]) -> None:
  """Keeps it, if the folder can be written to; it is made if it is not there.

  Args:
    folder: where.
    passed: what `about` has returned.
  """
  with contextlib.suppress(OSError):
    _make(folder)
    with tempfile.TemporaryDirectory(dir=folder) as own:  # gone in any case
      file = pathlib.Path(own, 'new')
      file.write_text(json.dumps(passed, indent=2))
      os.replace(file, _file(folder, passed))


@contextlib.contextmanager
def turn(folder: pathlib.Path, on_wait: Callable[[], object]) -> Iterator[None]:
  """Waits until no other process of this machine is in such a block.

  Where the folder cannot be written to or locked, nobody waits.

  Args:
    folder: where `add` keeps; machines that share it do not wait for each other.
    on_wait: called once, if it has to wait.
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
  """Changes with any module or table of tiles of this package."""
  package = pathlib.Path(pallas_kernels.__file__).parent
  digest = hashlib.sha256()
  files = [*package.rglob('*.py'), *package.glob('tile_tables/*/*.json')]
  for file in sorted(files):
    digest.update(f'{file.relative_to(package)}\n'.encode())
    digest.update(hashlib.sha256(file.read_bytes()).digest())
  return digest.hexdigest()
