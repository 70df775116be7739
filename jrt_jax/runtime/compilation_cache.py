"""Keeps compiled programs on disk, so that later commands start faster.

This is JAX's cache. Its keys are the computation, the versions and flags of JAX
and XLA, and the device (for a CPU, also its instruction set). Commands turn it
on; a library must not.
"""

import collections
from collections.abc import Iterator
import contextlib
import warnings

import jax

from jrt_jax.runtime import kept_programs
from jrt_jax.runtime import user_cache

_MAX_BYTES = 2**30  # of the programs of earlier commands, in each folder

# To bound the size, JAX would read a file for each program whenever it adds
# one. With thousands of programs, that takes longer than compiling.
_SETTINGS = {
    'jax_compilation_cache_max_size': -1,
    'jax_persistent_cache_min_compile_time_secs': 0,
    'jax_persistent_cache_enable_xla_caches': 'none',  # they would be unbounded
}


def turn_on() -> None:
  """Keeps programs that are compiled from now on in the user's cache.

  Does nothing if the user has set a cache folder for JAX or turned its cache
  off, or if the folder cannot be created. Programs that were not used for the
  longest time are removed first.
  """
  if (folder := _folder('compiled')) is None:
    return
  # A program that cannot be read or written is compiled; no warning is needed.
  warnings.filterwarnings(
      'ignore', 'Error (reading|writing) persistent compilation cache'
  )
  for name, value in _SETTINGS.items():
    jax.config.update(name, value)
  jax.config.update('jax_compilation_cache_dir', str(folder))


class Compiler:
  """Compiles programs, or reads those that an earlier command compiled.

  One process reads what `turn_on` keeps, several read `kept_programs`. Nothing
  is kept where `turn_on` does nothing.

  Args:
    keep: whether several processes keep any.

  Attributes:
    has_read: whether the last program was read.
  """

  def __init__(self, *, keep: bool):
    keep = keep and jax.process_count() > 1
    folder = _folder('programs') if keep else None
    self._programs = kept_programs.KeptPrograms(folder)
    self.has_read = False

  def compile(self, lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Returns the program; all processes must call it together."""
    with _counted() as count:
      program = self._programs.compile(lowered)
    by_jax = count['hits'] > 0 and not count['misses']
    self.has_read = self._programs.has_read or by_jax
    return program


@contextlib.contextmanager
def _counted() -> Iterator[collections.Counter[str]]:
  """Counts `hits` and `misses` of JAX's cache in a `with` block."""
  count = collections.Counter()

  def listen(event, **_):
    count[event.rpartition('/cache_')[2]] += 1

  jax.monitoring.register_event_listener(listen)
  try:
    yield count
  finally:
    jax.monitoring.unregister_event_listener(listen)


def _folder(name):
  """Returns a folder for programs; None if there is or shall be none."""
  config = jax.config
  if config.jax_compilation_cache_dir:
    return None
  if not config.jax_enable_compilation_cache:
    return None
  if (cache := user_cache.folder()) is None:
    return None
  folder = cache / name
  try:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # holds programs
    _remove_oldest(folder)
  except OSError:
    return None
  return folder


def _remove_oldest(folder):
  files = []
  for file in folder.iterdir():
    with contextlib.suppress(FileNotFoundError):  # another process removed it
      if file.is_file():
        files.append((file, file.stat()))
  files.sort(key=lambda x: max(x[1].st_atime, x[1].st_mtime), reverse=True)
  total = 0
  for file, stat in files:
    total += stat.st_size
    if total > _MAX_BYTES:
      file.unlink(missing_ok=True)  # another process may remove it as well
