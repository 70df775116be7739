"""A folder that takes one process at a time."""

from collections.abc import Iterator
import contextlib
import fcntl
import pathlib

from absl import logging

FILE = 'lock'


@contextlib.contextmanager
def held(folder: pathlib.Path, flag: str) -> Iterator[None]:
  """Keeps other processes away, until the block ends or this one is killed.

  Args:
    folder: an existing one, whose FILE is held.
    flag: by which another folder could be named, for the error.

  Raises:
    ValueError: another process has it.
    OSError: the file cannot be written.
  """
  with open(folder / FILE, 'w') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise ValueError(
          f'{folder} is in use by another process: wait for its end, or use'
          f' another {flag}'
      ) from error
    except OSError as error:  # Lustre without -o flock, for instance
      logging.warning(
          '%s cannot be locked (%s): start nothing else there',
          folder,
          error.strerror,
      )
    yield
