"""Folders that appear as a whole, or not at all."""

from collections.abc import Iterator
import contextlib
import pathlib
import shutil
import tempfile


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a new folder, whose files come to `path` when the block ends.

  They replace files of the same names. After an error the files are as they were.

  Raises:
    OSError: a file cannot be written.
  """
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
