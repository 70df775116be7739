"""What a folder of token shards says of itself: manifest.json."""

import dataclasses
import json
import os
import pathlib

_NAME = 'manifest.json'
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides which tokens are in which shard, beside the tokenizer.

  Attributes:
    format: of the files of text, 'jsonl' or 'text'.
    text_key: where a jsonl record keeps its text.
    separator: between the documents of a text file; '' if a file is one.
    validation_fraction: of the documents that are held out.
    shard_tokens: at which a part, its train and its validation shard, ends.
  """

  format: str
  text_key: str = 'text'
  separator: str = ''
  validation_fraction: float = 0.01
  shard_tokens: int = 2**27


@dataclasses.dataclass
class Shard:
  """A file of tokens, little-endian, each document followed by eos."""

  file: str
  split: str  # train or validation
  tokens: int
  documents: int
  sha256: str


@dataclasses.dataclass
class Manifest:
  """Which shards there are, and what they are made from.

  Attributes:
    tokenizer: its fingerprint, size and eos_id.
    dtype: of the tokens, uint16 or uint32.
    settings: of the command that made it.
    inputs: path and bytes of each file of text.
    shards: those that are whole, in order.
    file, unit: what is not in them yet begins with this unit of text, a line or
      a document, of this one of `inputs`; both are counted from 0.
  """

  tokenizer: dict[str, str | int]
  dtype: str
  settings: Settings
  inputs: list[dict[str, str | int]]
  shards: list[Shard] = dataclasses.field(default_factory=list)
  file: int = 0
  unit: int = 0

  @property
  def complete(self) -> bool:
    """Whether all text is in shards."""
    return self.file == len(self.inputs)

  @property
  def tokens(self) -> int:
    """How many there are in all shards."""
    return sum(shard.tokens for shard in self.shards)

  def of(self, split: str) -> list[Shard]:
    """Returns the shards of a split."""
    return [shard for shard in self.shards if shard.split == split]


def exists(folder: pathlib.Path) -> bool:
  """Whether `folder` has a manifest."""
  return (folder / _NAME).is_file()


def read(folder: pathlib.Path) -> Manifest:
  """Returns the manifest of `folder`.

  Raises:
    FileNotFoundError: there is none.
    ValueError: it is garbled, or of another version.
  """
  path = folder / _NAME
  if not path.is_file():
    raise FileNotFoundError(
        f'{path} does not exist: python -m jrt_jax.data.prepare makes it, and'
        ' the shards beside it'
    )
  try:
    fields = json.loads(path.read_bytes())
    version = fields.pop('version')
    if version == _VERSION:
      shards = [Shard(**shard) for shard in fields.pop('shards')]
      settings = Settings(**fields.pop('settings'))
      return Manifest(**fields, settings=settings, shards=shards)
  except (ValueError, TypeError, AttributeError, KeyError) as error:
    raise ValueError(
        f'{path}: garbled, it is not what jrt_jax.data.prepare wrote ({error})'
    ) from error
  raise ValueError(f'{path}: version must be {_VERSION}, got {version!r}')


def write(folder: pathlib.Path, manifest: Manifest) -> None:
  """Replaces the manifest of `folder` at once: a crash leaves the old one."""
  fields = {'version': _VERSION, **dataclasses.asdict(manifest)}
  temporary = folder / f'{_NAME}.tmp'
  with open(temporary, 'w') as file:
    json.dump(fields, file, indent=1)
  commit(temporary, folder / _NAME)


def commit(temporary: pathlib.Path, path: pathlib.Path) -> None:
  """Renames a file to `path` so that after a crash it is there whole or not."""
  _sync(temporary)
  os.replace(temporary, path)
  _sync(path.parent)


def _sync(path):
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
