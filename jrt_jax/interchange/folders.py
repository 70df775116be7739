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
  path.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=path, prefix='.new-') as new:
    new = pathlib.Path(new)
    yield new
    for file in new.iterdir():
      shutil.move(file, path / file.name)
