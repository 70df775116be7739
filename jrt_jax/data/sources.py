"""Where text comes from.

A source maps `config.data` to documents by split: 'train' and, unless the end
of the data is to be held out, 'validation'. Documents are str or bytes and are
read one at a time.
"""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import glob
import gzip
import json
import os
import pathlib
import sysconfig
import zlib

Documents = Iterable[str | bytes]

# Not in every distribution of Python, or tables rather than text.
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


def python_stdlib(data: Mapping) -> dict[str, Documents]:
  """The sources of the standard library and the prose of its help.

  About one file in twenty is held out, chosen by its name. Each help topic is
  a document, but they repeat each other, so that they share their file's split.
  """
  del data
  documents = _help_topics() + _stdlib_sources()
  documents.sort(key=lambda document: (_hash(document[0]), document[0]))
  return {
      'train': [text for name, text in documents if _hash(name) % 20],
      'validation': [text for name, text in documents if not _hash(name) % 20],
  }


def text(data: Mapping) -> dict[str, Documents]:
  """Text files, plain or .gz: each is one document."""
  return {split: map(_read, paths) for split, paths in _files(data).items()}


def jsonl(data: Mapping) -> dict[str, Documents]:
  """Files of JSON lines, plain or .gz: each line has one document."""
  return {
      split: _records(paths, data['text_key'])
      for split, paths in _files(data).items()
  }


SOURCES = {
    'python_stdlib': python_stdlib,
    'text': text,
    'jsonl': jsonl,
}


def _hash(name: str) -> int:
  return zlib.crc32(name.encode())


def _help_topics() -> list[tuple[str, str]]:
  from pydoc_data import topics  # half a megabyte that only this source needs

  return [('pydoc_data/topics.py', topic) for topic in topics.topics.values()]


def _stdlib_sources() -> list[tuple[str, bytes]]:
  root = pathlib.Path(sysconfig.get_path('stdlib'))
  sources = []
  for folder, subfolders, names in os.walk(root):
    # What is no identifier is no package: site-packages, lib-dynload.
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
        "config.data.source='python_stdlib' needs the standard library's"
        f' sources, and there are none in {root}'
    )
  return sources


def _files(data: Mapping) -> dict[str, list[str]]:
  """Returns the paths of each split."""
  files = {'train': _glob('path', data['path'])}
  if data['validation_path']:
    files['validation'] = _glob('validation_path', data['validation_path'])
  return files


def _glob(key: str, patterns: str) -> list[str]:
  """Returns the files that comma-separated patterns match, each once."""
  paths = []
  for pattern in map(os.path.expanduser, patterns.split(',')):
    matches = sorted(filter(os.path.isfile, glob.glob(pattern, recursive=True)))
    if os.path.isfile(pattern):
      matches = [pattern]  # a name may hold what globs give a meaning, as [1]
    if not matches:
      raise FileNotFoundError(
          f'config.data.{key} must name files, got {patterns!r}, where'
          f' {pattern!r} matches none'
      )
    paths += matches
  return list(dict.fromkeys(paths))


@contextlib.contextmanager
def _open(path: str):
  opener = gzip.open if path.endswith('.gz') else open
  try:
    with opener(path, 'rb') as file:
      yield file
  except (gzip.BadGzipFile, EOFError, zlib.error) as error:
    raise ValueError(f'{path}: broken gzip file ({error})') from error


def _read(path: str) -> bytes:
  with _open(path) as file:
    return file.read()


def _records(paths: list[str], text_key: str) -> Iterator[str]:
  for path in paths:
    with _open(path) as file:
      for number, line in enumerate(file, 1):
        if line.strip():
          yield _record(line, text_key, f'{path}:{number}')


def _record(line: bytes, text_key: str, place: str) -> str:
  try:
    record = json.loads(line)
  except ValueError as error:
    raise ValueError(f'{place}: not JSON ({error})') from error
  if not isinstance(record, dict):
    kind = type(record).__name__
    raise ValueError(f'{place}: must be a JSON object, got a {kind}')
  if not isinstance(record.get(text_key), str):
    raise ValueError(
        f'{place}: config.data.text_key={text_key!r} must name a string, got'
        f' keys {", ".join(record)}'
    )
  return record[text_key]
