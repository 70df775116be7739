"""A lock that lets one process at a time use a folder."""

from collections.abc import Iterator
import contextlib
import fcntl
import pathlib

from absl import logging

FILE = 'lock'


@contextlib.contextmanager
def held(folder: pathlib.Path, flag: str) -> Iterator[None]:
  """Locks a folder until the block ends or this process is killed.

  Args:
    folder: an existing folder; its FILE is locked.
    flag: the flag that names the folder, for the error message.

  Raises:
    ValueError: another process has locked it.
    OSError: the file cannot be written.
  """
  with open(folder / FILE, 'w') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise ValueError(
          f'{folder} is in use by another process: wait until it ends, or use'
          f' another {flag}'
      ) from error
    except OSError as error:  # Lustre without -o flock, for instance
      logging.warning(
          '%s cannot be locked (%s): do not use it in another process',
          folder,
          error.strerror,
      )
    yield
