"""Reads text files as batches of documents that are not tokenized yet."""

from collections.abc import Callable, Iterable, Iterator
import contextlib
import dataclasses
import itertools
import pathlib

from jrt_jax.data import parquet
from jrt_jax.data import sources
from jrt_jax.data import tokenizers
from jrt_jax.reporting.progress import progress_bar

_BATCH_BYTES = 2**20
_BATCH_UNITS = 2**12
_EXTENSIONS = {
    '.jsonl': 'jsonl',
    '.txt': 'text',
    '.text': 'text',
    '.md': 'text',
    '.parquet': 'parquet',
}


@dataclasses.dataclass
class Batch:
  """Consecutive units of one file: JSON lines, documents or rows of Parquet.

  Attributes:
    path: the path of the file.
    file: the number of the file.
    first: the number of the first unit in its file, from 0.
    units: the units.
    read: approximate number of bytes of the file on disk up to the end of these
      units; all documents of a text file, or rows of a Parquet file, count as
      equally long.
  """

  path: str
  file: int
  first: int
  units: list[bytes]
  read: int


def text_format(paths: list[str]) -> str:
  """Returns the format that the extensions of files name: jsonl, text, parquet.

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
        '--input must name files of one format, got'
        f' {" and ".join(sorted(formats))}'
    )
  return formats.pop()


def read(
    paths: list[str],
    *,
    format: str,
    separator: str,
    text_key: str,
    file: int = 0,
    unit: int = 0,
) -> Iterator[Batch]:
  """Yields the units of `paths` in order.

  Args:
    paths: files (plain, .gz or .zst).
    format: 'jsonl', whose units are lines; 'text', whose units are documents;
      or 'parquet', whose units are the texts of rows.
    separator: the string between the documents of a text file; '' if each file
      is one document.
    text_key: the column of a Parquet file that has the text.
    file, unit: the file and the unit in it to start from.

  Raises:
    ValueError: a file is broken, or is not text.
    OSError: a file cannot be read.
  """
  for number in range(file, len(paths)):
    path, first = paths[number], unit if number == file else 0
    with _opened(path, format, separator, text_key, first) as (left, read):
      while taken := _take(left):
        start, first = first, first + len(taken)
        yield Batch(path, number, start, taken, read(first))


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
    text_key: the field of a jsonl record, or the column of a Parquet file, that
      has the text.
    progress: label of the progress bar on a terminal; '': no bar.

  Raises:
    ValueError: see `read`; or a line is not a record.
  """
  sizes = [sources.size(path) for path in paths]
  with progress_bar(
      total=sum(sizes),
      desc=progress,
      unit='B',
      unit_scale=True,
      disable=None if progress else True,  # None: unless on a terminal
  ) as bar:
    for batch in read(
        paths, format=format, separator=separator, text_key=text_key
    ):
      for number, unit in enumerate(batch.units, batch.first + 1):
        if format != 'jsonl':
          yield unit.decode(errors='replace')
        elif unit.strip():
          text = sources.record(unit, text_key, f'{batch.path}:{number}')
          yield tokenizers.to_bytes(text).decode(errors='replace')
      bar.update(sum(sizes[: batch.file]) + batch.read - bar.n)


@contextlib.contextmanager
def _opened(
    path: str, format: str, separator: str, text_key: str, first: int
) -> Iterator[tuple[Iterable[bytes], Callable[[int], int]]]:
  """Opens a file: its units from `first` on, and `Batch.read` by units read."""
  with sources.open_text(path) as (file, raw):
    if format == 'jsonl':
      yield itertools.islice(file, first, None), lambda _: raw.tell()
      return
    if format == 'parquet':
      column = parquet.TextColumn(file, path, text_key)
      left, number = column.rows(first), column.num_rows
      size = sources.size(path)
    else:  # read as a whole
      units = _documents(file, separator, path)
      left, number, size = iter(units[first:]), len(units), raw.tell()
    yield left, lambda units: size * units // number


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
