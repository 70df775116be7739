"""manifest.json, which describes a folder of token shards."""

import dataclasses
import json
import pathlib

from jrt_jax import atomic_write
from jrt_jax import foreign
from jrt_jax.schema import Fields
from jrt_jax.schema import ListOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import Real
from jrt_jax.schema import shown
from jrt_jax.schema import Text
from jrt_jax.schema import Whole

MOST_INPUTS = 10**6

_NAME = 'manifest.json'
_MOST_BYTES = 2**29  # of the file; enough for the most inputs and shards
_VERSION = 1
_COUNT = Whole(0, 2**60)
_SCHEMA = Fields(
    {
        'version': OneOf(_VERSION),
        'tokenizer': {
            'fingerprint': Text(),
            'size': Whole(1, 2**24),
            'eos_id': Whole(0, 2**24),
        },
        'dtype': OneOf('uint16', 'uint32'),
        'settings': {
            'format': OneOf('jsonl', 'text', 'parquet'),
            'text_key': Text(),
            'separator': Text(),
            'validation_fraction': Real(0, 1),
            'shard_tokens': _COUNT,
        },
        'inputs': ListOf(
            Fields({'path': Text(), 'bytes': _COUNT}), 0, MOST_INPUTS
        ),
        'shards': ListOf(
            Fields(
                {
                    'file': Text(),
                    'split': OneOf('train', 'validation'),
                    'tokens': _COUNT,
                    'documents': _COUNT,
                    'sha256': Text(),
                }
            ),
            0,
            10**6,
        ),
        'file': _COUNT,
        'unit': _COUNT,
    }
)


@dataclasses.dataclass(frozen=True)
class Settings:
  """The settings that determine the tokens of each shard, with the tokenizer.

  Attributes:
    format: the format of the files: 'jsonl', 'text' or 'parquet'.
    text_key: the field of a jsonl record, or the column of a Parquet file, that
      has the text.
    separator: the string between the documents of a text file; '' if each file
      is one document.
    validation_fraction: the fraction of documents that is held out.
    shard_tokens: number of tokens after which the train shard and the
      validation shard that are being written end.
  """

  format: str
  text_key: str = 'text'
  separator: str = ''
  validation_fraction: float = 0.01
  shard_tokens: int = 2**27


@dataclasses.dataclass
class Shard:
  """A file of little-endian tokens, in which eos follows each document."""

  file: str
  split: str  # train or validation
  tokens: int
  documents: int
  sha256: str


@dataclasses.dataclass
class Manifest:
  """The shards of a folder, and the text that they are made from.

  Attributes:
    tokenizer: its fingerprint, size and eos_id.
    dtype: the dtype of the tokens, 'uint16' or 'uint32'.
    settings: the settings of the command that wrote the folder.
    inputs: path and bytes of each text file.
    shards: the complete shards, in order.
    file, unit: where the text begins that is not in shards yet: an index into
      `inputs`, and the number of a line or document in that file, both from 0.
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
    """Whether all text is in the shards."""
    return self.file == len(self.inputs)

  @property
  def tokens(self) -> int:
    """Number of tokens in all shards."""
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
    FileNotFoundError: there is no manifest.
    ValueError: the manifest is damaged, or of another version.
  """
  path = folder / _NAME
  if not path.is_file():
    raise FileNotFoundError(
        f'{path} does not exist: python -m jrt_jax.data.prepare writes such a'
        ' folder'
    )
  fields = foreign.read_json(path, _SCHEMA, most=_MOST_BYTES)
  del fields['version']
  shards = [Shard(**shard) for shard in fields.pop('shards')]
  for shard in shards:
    is_name = pathlib.PurePath(shard.file).name == shard.file
    if not (shard.file and shard.file.isprintable() and is_name):
      raise ValueError(
          f'{path}: shards must be in the same folder, got {shown(shard.file)}'
      )
  settings = Settings(**fields.pop('settings'))
  return Manifest(**fields, settings=settings, shards=shards)


def write(folder: pathlib.Path, manifest: Manifest) -> None:
  """Replaces the manifest of `folder` atomically: a crash leaves the old one.

  Raises:
    ValueError: the file would be too large for `read`.
  """
  fields = {'version': _VERSION, **dataclasses.asdict(manifest)}
  with atomic_write.replacing(folder / _NAME, durable=True) as new:
    new.write_text(json.dumps(fields, indent=1))
    foreign.check_size(new, _MOST_BYTES)
