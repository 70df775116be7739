"""Folders that are written completely or not at all."""

from collections.abc import Iterator
import contextlib
import pathlib
import shutil
import tempfile


def check_empty(argument: str, path: pathlib.Path) -> None:
  """Raises a ValueError that names the argument if `path` is not empty."""
  if path.exists() and any(path.iterdir()):
    raise ValueError(
        f'{argument} must be an empty folder or a new one, got {path}: existing'
        ' files are never overwritten'
    )


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary folder whose files move to `path` when the block ends.

  After an error `path` is unchanged: it is empty or does not exist.

  Raises:
    OSError: a file cannot be written.
    ValueError: `path` is not empty.
  """
  check_empty('the folder', path)
  was_there = path.exists()
  path.mkdir(parents=True, exist_ok=True)
  try:
    with tempfile.TemporaryDirectory(dir=path, prefix='.new-') as new:
      yield pathlib.Path(new)
      for file in pathlib.Path(new).iterdir():
        shutil.move(file, path / file.name)
  finally:
    if not was_there and not any(path.iterdir()):
      path.rmdir()
