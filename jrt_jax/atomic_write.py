"""Atomic writes: a reader finds either the old file or the whole new one."""

from collections.abc import Iterator
import contextlib
import os
import pathlib


@contextlib.contextmanager
def replacing(
    path: str | pathlib.Path, *, durable: bool = False
) -> Iterator[pathlib.Path]:
  """Yields a temporary path whose file replaces `path` at the end.

  After an error `path` is unchanged.

  Args:
    path: a file in an existing folder.
    durable: whether this also holds if the machine crashes.

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
  """Writes a file in UTF-8, with the line endings of `content`."""
  with replacing(path) as new:
    new.write_text(content, encoding='utf-8', newline='')


def commit(new: pathlib.Path, path: pathlib.Path) -> None:
  """Renames `new` so that after a crash `path` is complete or missing."""
  _sync(new)
  new.replace(path)
  _sync(path.parent)


def _sync(path):
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
