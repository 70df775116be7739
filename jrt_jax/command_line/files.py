"""The files and folders that the flags of a command name."""

from collections.abc import Iterator
import contextlib
import errno
import os
import pathlib
import tempfile
from typing import TypeVar

from absl import flags

from jrt_jax import local_paths

_T = TypeVar('_T')


def required(flag: flags.FlagHolder[_T | None], what: str) -> _T:
  """Returns the value of a flag; raises ValueError if it was not given.

  Args:
    flag: the flag.
    what: what its value stands for in the message, as in --out=FILE.
  """
  if not flag.value:
    raise ValueError(f'--{flag.name}={what} must be given')
  return flag.value


@contextlib.contextmanager
def reading(argument: str) -> Iterator[None]:
  """Raises a ValueError that names the argument if a file cannot be read."""
  try:
    yield
  except OSError as error:
    if error.filename is None:  # its message is already clear
      raise
    raise ValueError(
        f'{argument} must be a file that can be read, got'
        f' {str(error.filename)!r}: {error.strerror}'
    ) from error


def output_file(flag: flags.FlagHolder[str | None]) -> pathlib.Path:
  """Returns a path that can be written, so that a command fails early if not.

  Creates the folder of the file if necessary.

  Raises:
    ValueError: the flag was not given, or the file cannot be written.
  """
  local_paths.check(f'--{flag.name}', required(flag, 'FILE'))
  file = pathlib.Path(flag.value).expanduser()
  check_output(flag, file)
  return file


def check_output(flag: flags.FlagHolder, file: pathlib.Path) -> None:
  """As `output_file`, for one of the files that a flag names."""
  with _named(flag, 'a file', file):
    if file.is_dir():
      raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if file.exists() and not os.access(file, os.W_OK):
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    _check_writable(file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)


def output_folder(flag: flags.FlagHolder[str | None]) -> pathlib.Path:
  """Returns the path of a writable folder, or of one that can be created.

  Raises:
    ValueError: the flag was not given, or the folder is neither.
  """
  local_paths.check(f'--{flag.name}', required(flag, 'DIR'))
  folder = pathlib.Path(flag.value).expanduser()
  with _named(flag, 'a folder', folder):
    _check_writable(folder)
  return folder


@contextlib.contextmanager
def _named(flag, kind, path):
  """Turns an OSError into a ValueError that names the flag."""
  try:
    yield
  except OSError as error:
    raise ValueError(
        f'--{flag.name} must be {kind} that can be written, got'
        f' {str(path)!r}: {error.strerror}'
    ) from error


def _check_writable(folder):
  """Raises OSError unless files can be created in it or in its parent."""
  there = next(path for path in (folder, *folder.parents) if path.exists())
  tempfile.TemporaryFile(dir=there).close()
