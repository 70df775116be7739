"""Sources of text.

A source maps `config.data` to the documents of each split: 'train' and
'validation'. Without 'validation', the end of the data is held out. Documents
are str or bytes and are read one at a time.
"""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import glob
import gzip
import json
import os
import pathlib
import re
import sys
import sysconfig
from typing import BinaryIO
import zlib

if sys.version_info >= (3, 14):
  from compression import zstd
else:
  from backports import zstd

from jrt_jax.data import parquet as parquet_lib
from jrt_jax.data import remote
from jrt_jax.schema import shown

Documents = Iterable[str | bytes]

# Missing in some distributions of Python, or tables rather than text.
_NOT_STDLIB = {
    '__pycache__',
    'distutils',
    'encodings',
    'ensurepip',
    'idlelib',
    'lib2to3',
    'pydoc_data',
    'sitecustomize.py',
    'test',
    'tests',
    'tkinter',
    'turtledemo',
    'venv',
}


_LOOKED_AT = 2**16  # bytes of a file that are checked for being text
_NO_TEXT = re.compile('[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f\ufffd]')


def python_stdlib(data: Mapping) -> dict[str, Documents]:
  """The source files of Python's standard library, and its help topics.

  About one file in twenty is held out, chosen by its name. Each help topic is a
  document. Since topics repeat each other, all are in the same split.
  """
  del data
  documents = _help_topics() + _stdlib_sources()
  documents.sort(key=lambda document: (_hash(document[0]), document[0]))
  return {
      'train': [text for name, text in documents if _hash(name) % 20],
      'validation': [text for name, text in documents if not _hash(name) % 20],
  }


def text(data: Mapping) -> dict[str, Documents]:
  """Text files (plain, .gz or .zst); each file is one document."""
  return {split: map(_read, paths) for split, paths in _files(data).items()}


def jsonl(data: Mapping) -> dict[str, Documents]:
  """Files of JSON lines (plain, .gz or .zst); each line has one document."""
  return {
      split: _records(paths, data['text_key'])
      for split, paths in _files(data).items()
  }


def parquet(data: Mapping) -> dict[str, Documents]:
  """Parquet files; each row has one document."""
  return {
      split: _rows(paths, data['text_key'])
      for split, paths in _files(data).items()
  }


def find(key: str, patterns: str) -> list[str]:
  """Returns the files that comma-separated patterns match, each once.

  Args:
    key: the name of the argument, for the error message.
    patterns: file names, URLs or globs, which may have **.

  Raises:
    FileNotFoundError: a pattern matches no file.
    ValueError, OSError: see `remote.find`.
  """
  paths = []
  for pattern in map(os.path.expanduser, patterns.split(',')):
    if remote.is_url(pattern):
      matches = remote.find(pattern)
    elif os.path.isfile(pattern):
      matches = [pattern]  # a name may have characters of globs, such as [1]
    else:
      matches = glob.glob(pattern, recursive=True)
      matches = sorted(filter(os.path.isfile, matches))
    if not matches:
      raise FileNotFoundError(
          f'{key} must name files, got {pattern!r}, which no file matches'
      )
    paths += matches
  return list(dict.fromkeys(paths))


def size(path: str) -> int:
  """Returns the bytes of a file or of what a URL names."""
  return remote.size(path) if remote.is_url(path) else os.path.getsize(path)


@contextlib.contextmanager
def open_text(path: str) -> Iterator[tuple[BinaryIO, BinaryIO]]:
  """Opens a file (plain, .gz or .zst): its content, and the file as it is.

  Args:
    path: a path or a URL.

  Raises:
    ValueError: the file is cut off, or not compressed as its extension says.
  """
  with contextlib.ExitStack() as stack:
    is_url = remote.is_url(path)
    raw = remote.open_binary(path) if is_url else open(path, 'rb')
    file = stack.enter_context(raw)
    suffix = pathlib.Path(path).suffix
    if suffix in _DECOMPRESSORS:
      file = stack.enter_context(_DECOMPRESSORS[suffix](raw))
    try:
      yield file, raw
    except (gzip.BadGzipFile, EOFError, zlib.error, zstd.ZstdError) as error:
      raise ValueError(f'{path}: broken {suffix} file ({error})') from error


_DECOMPRESSORS = {'.gz': gzip.open, '.zst': zstd.open}


def lines(path: str) -> Iterator[tuple[str, bytes]]:
  """Yields the lines of a file that are not blank, with places for messages."""
  with open_text(path) as (file, _):
    for number, line in enumerate(file, 1):
      if line.strip():
        yield f'{path}:{number}', line


def record(line: bytes, text_key: str, place: str) -> str:
  """Returns the text of a line of JSON.

  Args:
    line: one JSON object.
    text_key: the field that has the text.
    place: file and line number, for the error message.

  Raises:
    ValueError: the line is not JSON, or has no text.
  """
  try:
    fields = json.loads(line)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{place}: not JSON ({error})') from error
  if not isinstance(fields, dict):
    kind = type(fields).__name__
    raise ValueError(f'{place}: must be a JSON object, got a {kind}')
  if not isinstance(fields.get(text_key), str):
    raise ValueError(
        f'{place}: text_key={text_key!r} must name a string, got keys'
        f' {shown([*fields])}'
    )
  return fields[text_key]


def check_text(content: bytes, path: str) -> bytes:
  """Returns `content`, after checking that it is text.

  Raises:
    ValueError: more than a tenth of the first characters are not text in UTF-8.
      Fewer broken characters are accepted, since large collections have some.
  """
  start = content[:_LOOKED_AT].decode(errors='replace')
  strange = len(_NO_TEXT.findall(start))
  if 10 * strange > len(start):
    raise ValueError(
        f'{path} must be text in UTF-8, but {strange:,} of its first'
        f' {len(start):,} characters are not: is it a binary file?'
    )
  return content


def _hash(name: str) -> int:
  return zlib.crc32(name.encode())


def _help_topics() -> list[tuple[str, str]]:
  from pydoc_data import topics  # half a megabyte that only this source needs

  return [('pydoc_data/topics.py', topic) for topic in topics.topics.values()]


def _stdlib_sources() -> list[tuple[str, bytes]]:
  root = pathlib.Path(sysconfig.get_path('stdlib'))
  sources = []
  for folder, subfolders, names in os.walk(root):
    # Other names, such as site-packages and lib-dynload, are not packages.
    subfolders[:] = [
        name
        for name in subfolders
        if name.isidentifier() and name not in _NOT_STDLIB
    ]
    for name in set(names) - _NOT_STDLIB:
      if name.endswith('.py') and not name.startswith('_sysconfigdata'):
        path = pathlib.Path(folder, name)
        sources.append((path.relative_to(root).as_posix(), path.read_bytes()))
  if not sources:
    raise FileNotFoundError(
        "config.data.source='python_stdlib' needs the source files of the"
        f' standard library, but {root} has none'
    )
  return sources


def _files(data: Mapping) -> dict[str, list[str]]:
  """Returns the paths of each split."""
  files = {'train': find('config.data.path', data['path'])}
  if data['validation_path']:
    files['validation'] = find(
        'config.data.validation_path', data['validation_path']
    )
  return files


def _read(path: str) -> bytes:
  with open_text(path) as (file, _):
    return check_text(file.read(), path)


def _records(paths: list[str], text_key: str) -> Iterator[str]:
  for path in paths:
    for place, line in lines(path):
      yield record(line, text_key, place)


def _rows(paths: list[str], text_key: str) -> Iterator[bytes]:
  for path in paths:
    with open_text(path) as (file, _):
      yield from parquet_lib.TextColumn(file, path, text_key).rows()
