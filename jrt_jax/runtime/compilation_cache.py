"""Compiled programs on disk, so that only the first command compiles them.

It is JAX's cache, which knows a program by what it computes, by the versions of
JAX and XLA and their flags, and by the device: for a CPU also by its
instructions. Commands turn it on; a library must not.
"""

import contextlib
import warnings

import jax

from jrt_jax.runtime import user_cache

MAX_BYTES = 2**30

# JAX would bound the size by reading a file for each program whenever it adds
# one: with thousands of them that takes longer than to compile most.
_SETTINGS = {
    'jax_compilation_cache_max_size': -1,
    'jax_persistent_cache_min_compile_time_secs': 0,
    'jax_persistent_cache_enable_xla_caches': 'none',  # they would be unbounded
}


def turn_on(max_bytes: int = MAX_BYTES) -> None:
  """Keeps what is compiled from now on in a folder of the user's.

  Does nothing if the user has given JAX a folder or has forbidden it to keep
  programs, nor if the folder cannot be made. What was not used for longest is
  removed first.

  Args:
    max_bytes: what programs of earlier commands may take.
  """
  config = jax.config
  if config.jax_compilation_cache_dir:
    return
  if not config.jax_enable_compilation_cache:
    return
  if (cache := user_cache.folder()) is None:
    return
  folder = cache / 'compiled'
  try:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # they can be run
    _remove_oldest(folder, max_bytes)
  except OSError:
    return
  # What cannot be read or written is compiled: nobody has to be told.
  warnings.filterwarnings(
      'ignore', 'Error (reading|writing) persistent compilation cache'
  )
  for name, value in _SETTINGS.items():
    config.update(name, value)
  config.update('jax_compilation_cache_dir', str(folder))


def _remove_oldest(folder, max_bytes):
  files = []
  for file in folder.iterdir():
    with contextlib.suppress(FileNotFoundError):  # another process removed it
      if file.is_file():
        files.append((file, file.stat()))
  files.sort(key=lambda x: max(x[1].st_atime, x[1].st_mtime), reverse=True)
  total = 0
  for file, stat in files:
    total += stat.st_size
    if total > max_bytes:
      file.unlink(missing_ok=True)  # another process may remove it as well
