"""The flags of a command that reads documents apart from each other."""

import pathlib
import sys
from typing import NamedTuple

from absl import flags

from jrt_jax.command_line import files
from jrt_jax.generation import DocumentMemory
from jrt_jax.generation import Model

flags.disclaim_key_flags()  # --help shows them with the command's own flags


class DocumentFlags(NamedTuple):
  """The flags; a document has the name of its file."""

  read: flags.FlagHolder[list[str]]
  save: flags.FlagHolder[list[str]]
  load: flags.FlagHolder[list[str]]
  without: flags.FlagHolder[list[str]]

  @property
  def given(self) -> bool:
    """Whether there are documents."""
    return bool(self.read.value or self.load.value)

  def check(self) -> None:
    """Raises ValueError for flags that do not fit together."""
    read, save = self.read.value, self.save.value
    if save and len(save) != len(read):
      raise ValueError(
          '--save_documents must name a file for each of --read_documents'
          f' ({len(read)}), got {len(save)}'
      )
    for path in save:
      files.check_output(self.save, pathlib.Path(path).expanduser())
    known = [*read, *self.load.value]
    for name in self.without.value:
      if name not in known:
        raise ValueError(
            '--without must name files of --documents or --read_documents, got'
            f' {name!r}'
        )

  def memory(self, model: Model) -> DocumentMemory:
    """Reads, loads, saves and removes documents as the flags say.

    Raises:
      ValueError: a file cannot be read or written, or does not fit the model.
    """
    memory = DocumentMemory(model)
    with files.reading(f'--{self.read.name}'):
      texts = {x: pathlib.Path(x).read_bytes() for x in self.read.value}
    memory.read({x: y.decode(errors='replace') for x, y in texts.items()})
    for name, path in zip(self.read.value, self.save.value):
      memory.save(name, pathlib.Path(path).expanduser())
      print(f'[wrote {path}]', file=sys.stderr)
    for path in self.load.value:
      with files.reading(f'--{self.load.name}'):
        memory.load(path, path)
    for name in self.without.value:
      memory.remove(name)
    return memory


def define() -> DocumentFlags:
  """Defines the flags."""
  return DocumentFlags(
      flags.DEFINE_list(
          'read_documents',
          [],
          'Files of text that are read before the prompts, each apart from the'
          ' others.',
      ),
      flags.DEFINE_list(
          'save_documents',
          [],
          'Files to which what is kept of each of --read_documents is written.',
      ),
      flags.DEFINE_list(
          'documents',
          [],
          'Files that --save_documents has written: the prompts see these'
          ' documents.',
      ),
      flags.DEFINE_list(
          'without', [], 'Which of these files the prompts do not see.'
      ),
  )
