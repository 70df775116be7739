"""Keeps the compiled programs of runs of several processes on disk.

JAX's own cache (see `compilation_cache`) does not serve them: only the first
process writes to it, and its keys may differ between processes. A process that
has to compile waits for others, with whom it shares measurements of kernels on
GPUs, so that either all must read a program or all must compile it. Here every
process keeps its own part, on its own disk or on a shared one, and all agree.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import socket

import jax
from jax.experimental import serialize_executable
import jaxlib

from jrt_jax import atomic_write
from jrt_jax.runtime import distributed


class KeptPrograms:
  """The programs in a folder.

  Args:
    folder: a folder that only this user can write to: reading a program may run
      any code. It may differ between processes. None: this process keeps none,
      so that all compile.

  Attributes:
    has_read: whether the last program was read instead of compiled.
  """

  def __init__(self, folder: pathlib.Path | None):
    self._folder = folder
    self._count = 0
    self.has_read = False

  def compile(self, lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Reads or compiles a program; all processes must call it together.

    Args:
      lowered: a program that runs on all devices of all processes.
    """
    path = program = None
    if self._folder:
      path = self._folder / f'{_key(lowered)}.program'
      program = _read(path, lowered)
    self._count += 1
    has_it = distributed.everyones(
        f'kept_programs/{self._count}', program is not None
    )
    self.has_read = all(has_it)
    if self.has_read:
      with contextlib.suppress(OSError):  # another command removed it
        os.utime(path)  # the oldest are removed first
      return program
    program = lowered.compile()
    if path:
      _write(path, program)
    return program


def _key(lowered):
  """Identifies what a program computes, on which devices, and its compiler."""
  devices = jax.devices()
  facts = {
      'program': lowered.as_text(),
      'versions': [jax.__version__, jaxlib.__version__],
      'backend': devices[0].client.platform_version,
      'flags': os.environ.get('XLA_FLAGS', ''),
      'devices': [[d.id, d.process_index, d.device_kind] for d in devices],
      'process': distributed.process_id(),
  }
  if devices[0].platform == 'cpu':  # its instructions are not in its name
    facts['host'] = socket.gethostname()
  return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read(path, lowered):
  """Returns a program, or None if there is none that can be used."""
  try:
    return serialize_executable.deserialize_and_load(
        path.read_bytes(), lowered.in_tree, lowered.out_tree
    )
  except Exception:  # pylint: disable=broad-except
    return None  # it is compiled, whatever is wrong with the file


def _write(path, program):
  try:
    content, *_ = serialize_executable.serialize(program)
    with atomic_write.replacing(path) as new:
      new.write_bytes(content)
  except (OSError, ValueError, NotImplementedError):
    pass  # it is compiled the next time, too
