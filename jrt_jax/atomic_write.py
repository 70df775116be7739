"""Files that are written as a whole: who reads one finds the old or the new."""

from collections.abc import Iterator
import contextlib
import os
import pathlib


@contextlib.contextmanager
def replacing(
    path: str | pathlib.Path, *, durable: bool = False
) -> Iterator[pathlib.Path]:
  """Yields a path beside `path`; what is written there replaces it at the end.

  After an error `path` is as it was.

  Args:
    path: in a folder that exists.
    durable: whether this holds after a crash of the machine, too.

  Raises:
    OSError: the file cannot be replaced.
  """
  path = pathlib.Path(path)
  new = path.with_name(f'{path.name}.{os.getpid()}.tmp')
  try:
    yield new
    commit(new, path) if durable else new.replace(path)
  finally:
    new.unlink(missing_ok=True)


def text(path: str | pathlib.Path, content: str) -> None:
  """Writes a file in UTF-8, with the ends of lines that `content` has."""
  with replacing(path) as new:
    new.write_text(content, encoding='utf-8', newline='')


def commit(new: pathlib.Path, path: pathlib.Path) -> None:
  """Renames `new` so that after a crash `path` is there as a whole or not."""
  _sync(new)
  new.replace(path)
  _sync(path.parent)


def _sync(path):
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
