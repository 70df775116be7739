"""Reads text files as batches of documents that are not tokenized yet."""

from collections.abc import Iterator
import dataclasses
import itertools
import pathlib

import tqdm

from jrt_jax.data import sources
from jrt_jax.data import tokenizers

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
  """Consecutive units of text of one file; a unit is a JSON line or a document.

  Attributes:
    path: the path of the file.
    file: the number of the file.
    first: the number of the first unit in its file, from 0.
    units: the units.
    read: approximate number of bytes of the file on disk up to the end of these
      units; all documents of a text file count as equally long.
  """

  path: str
  file: int
  first: int
  units: list[bytes]
  read: int


def text_format(argument: str, paths: list[str]) -> str:
  """Returns the format of files, 'jsonl' or 'text', by their extensions.

  Args:
    argument: the name of the argument, for error messages.
    paths: paths of the files.

  Raises:
    ValueError: an extension is unknown, or the formats differ.
  """
  formats = set()
  for path in map(pathlib.Path, paths):
    name = path.stem if path.suffix in ('.gz', '.zst') else path.name
    suffix = pathlib.Path(name).suffix
    if suffix not in _EXTENSIONS:
      raise ValueError(
          f'--format must be given: the extension of {path} does not tell it'
      )
    formats.add(_EXTENSIONS[suffix])
  if len(formats) > 1:
    raise ValueError(
        f'{argument} must name files of one format, got jsonl and text'
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
  """Yields the units of `paths` in order.

  Args:
    paths: files (plain, .gz or .zst).
    format: 'jsonl', whose units are lines; or 'text', whose units are
      documents.
    separator: the string between the documents of a text file; '' if each file
      is one document.
    file, unit: the file and the unit in it to start from.

  Raises:
    ValueError: a file is broken, or is not text.
    OSError: a file cannot be read.
  """
  for number in range(file, len(paths)):
    with sources.open_text(paths[number]) as (text, raw):
      units = text
      if format == 'text':  # read as a whole
        units = _documents(text, separator, paths[number])
      first = unit if number == file else 0
      left = itertools.islice(units, first, None)
      while taken := _take(left):
        start, first, read = first, first + len(taken), raw.tell()
        if format == 'text':
          read = read * first // len(units)
        yield Batch(paths[number], number, start, taken, read)


def documents(
    paths: list[str],
    *,
    format: str,
    separator: str,
    text_key: str,
    progress: str = '',
) -> Iterator[str]:
  """Yields the documents of `paths`; broken UTF-8 becomes U+FFFD.

  Args:
    paths, format, separator: see `read`.
    text_key: the field of a jsonl record that has the text.
    progress: label of the progress bar on a terminal; '': no bar.

  Raises:
    ValueError: see `read`; or a line is not a record.
  """
  sizes = [pathlib.Path(path).stat().st_size for path in paths]
  with tqdm.tqdm(
      total=sum(sizes),
      desc=progress,
      unit='B',
      unit_scale=True,
      disable=None if progress else True,  # None: unless on a terminal
      delay=1,
  ) as bar:
    for batch in read(paths, format=format, separator=separator):
      for number, unit in enumerate(batch.units, batch.first + 1):
        if format == 'text':
          yield unit.decode(errors='replace')
        elif unit.strip():
          text = sources.record(unit, text_key, f'{batch.path}:{number}')
          yield tokenizers.to_bytes(text).decode(errors='replace')
      bar.update(sum(sizes[: batch.file]) + batch.read - bar.n)


def _documents(text, separator, path):
  content = sources.check_text(text.read(), path)
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
