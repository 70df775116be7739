"""Folders that appear as a whole, or not at all."""

from collections.abc import Iterator
import contextlib
import pathlib
import shutil


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a new folder, whose files come to `path` when the block ends.

  They replace files of the same names. After an error all is as it was.

  Raises:
    OSError: a file cannot be written.
  """
  path = path.resolve()
  new = path.with_name(f'{path.name}.new')  # beside it: moving is renaming
  shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
  new.mkdir(parents=True)
  try:
    yield new
    path.mkdir(exist_ok=True)
    for file in new.iterdir():
      shutil.move(file, path / file.name)
  finally:
    shutil.rmtree(new)
