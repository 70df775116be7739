"""Files of text as batches of raw documents, small enough to hand around."""

from collections.abc import Iterator
import dataclasses
import itertools
import pathlib

from jrt_jax.data import sources

_BATCH_BYTES = 2**20
_BATCH_UNITS = 2**12
_EXTENSIONS = {
    '.jsonl': 'jsonl',
    '.txt': 'text',
    '.text': 'text',
    '.md': 'text',
}


@dataclasses.dataclass
class Batch:
  """Units of text of one file, one after another.

  Attributes:
    path: of the file.
    file: its number.
    first: the number of the first unit in the file, from 0.
    units: lines of JSON, or documents.
    read: bytes of the file on disk that have been read so far.
  """

  path: str
  file: int
  first: int
  units: list[bytes]
  read: int


def text_format(paths: list[str]) -> str:
  """Returns 'jsonl' or 'text', as the extensions of all `paths` say.

  Raises:
    ValueError: they say nothing, or differ.
  """
  formats = set()
  for path in map(pathlib.Path, paths):
    name = path.stem if path.suffix in ('.gz', '.zst') else path.name
    suffix = pathlib.Path(name).suffix
    if suffix not in _EXTENSIONS:
      raise ValueError(f'{path}: --format must be given, its name has none')
    formats.add(_EXTENSIONS[suffix])
  if len(formats) > 1:
    raise ValueError(
        '--input must have files of one format, got jsonl and text'
    )
  return formats.pop()


def read(
    paths: list[str],
    *,
    format: str,
    separator: str,
    file: int = 0,
    unit: int = 0,
) -> Iterator[Batch]:
  """Yields the units of `paths` in order, from a unit of a file on.

  Args:
    paths: files, plain, .gz or .zst.
    format: jsonl, whose lines are units; or text, whose documents are.
    separator: between the documents of a text; '' if each file is one.
    file, unit: where to start.

  Raises:
    ValueError: a file is broken.
    OSError: it cannot be read.
  """
  for number in range(file, len(paths)):
    with sources.open_text(paths[number]) as (text, raw):
      units = text if format == 'jsonl' else _documents(text, separator)
      first = unit if number == file else 0
      units = itertools.islice(units, first, None)
      while taken := _take(units):
        yield Batch(paths[number], number, first, taken, raw.tell())
        first += len(taken)


def _documents(text, separator):
  content = text.read()
  if not separator or separator.encode() not in content:
    return [content]
  return [document.strip() for document in content.split(separator.encode())]


def _take(units):
  """Returns the next units, at least one if there are any."""
  taken, size = [], 0
  for unit in units:
    taken.append(unit)
    size += len(unit)
    if size >= _BATCH_BYTES or len(taken) >= _BATCH_UNITS:
      break
  return taken
