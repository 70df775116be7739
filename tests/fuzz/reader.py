"""A reader of files of others, and how it is tried."""

from collections.abc import Callable
import json
import pathlib
from typing import Any, NamedTuple

from fuzz import mutations

Folder = pathlib.Path


class Reader(NamedTuple):
  """What reads a file of others.

  Attributes:
    file: its name, in a folder.
    kind: of `mutations.KINDS`.
    write: writes a valid one, and what must lie beside it.
    read: reads it, and uses what it holds.
  """

  file: str
  kind: str
  write: Callable[[Folder], None]
  read: Callable[[Folder], Any]

  def trial(self, folder: Folder, content: bytes, data: bytes) -> None:
    """Reads a file that is wrong, as `data` decides.

    Raises:
      AssertionError: it is refused by more than one line.
      Exception: it is neither read nor refused.
    """
    broken = mutations.mutated(content, self.kind, data)
    (folder / self.file).write_bytes(broken)
    try:
      self.read(folder)
    except (ValueError, OSError) as error:
      assert len(str(error).splitlines()) == 1, error


def dump(folder: Folder, name: str, content: Any) -> None:
  """Writes JSON to a file of a folder."""
  (folder / name).write_text(json.dumps(content))
