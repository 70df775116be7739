"""Folders that appear as a whole, or not at all."""

from collections.abc import Iterator
import contextlib
import pathlib
import shutil
import tempfile


def check_empty(argument: str, path: pathlib.Path) -> None:
  """Raises ValueError, naming the argument, if `path` holds anything."""
  if path.exists() and any(path.iterdir()):
    raise ValueError(
        f'{argument} must be an empty folder or a new one, got {path}: what is'
        ' there is never overwritten'
    )


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a new folder, whose files come to `path` when the block ends.

  After an error `path` is as it was: empty, or not there.

  Raises:
    OSError: a file cannot be written.
    ValueError: `path` holds something.
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
