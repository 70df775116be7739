"""Readers of JSON and .npz files that may be damaged or hostile.

A reader returns content that a schema allows, or raises a ValueError of one
line that begins with the path. Nothing in a file is executed, and its size is
read from headers before memory is allocated for it.
"""

from collections.abc import Iterator, Sequence
import contextlib
import json
import math
import os
import pathlib
from typing import Any
import zipfile

import numpy as np

from jrt_jax.schema import Anything
from jrt_jax.schema import Fields
from jrt_jax.schema import Value

OBJECT = Fields({}, others=Anything())

_MOST_JSON = 2**26  # bytes
_DEEPEST_JSON = 32  # levels of nested objects and lists
_MOST_UNPACKED = 2**30  # bytes of a compressed file
_LONGEST_TEXT = 2**22  # bytes; a character has 4
_KINDS = {'b': 'bool', 'i': 'int', 'u': 'uint', 'f': 'float', 'U': 'text'}
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

Path = str | os.PathLike


def read_json(path: Path, schema: Value, *, most: int = _MOST_JSON) -> Any:
  """Returns the content of a JSON file of at most `most` bytes.

  Raises:
    OSError: the file does not exist or cannot be read.
    ValueError: it is not JSON, is too large or too deeply nested, or does not
      fit `schema`.
  """
  path = pathlib.Path(path)
  check_size(path, most)
  return parse_json(path.read_bytes(), str(path), schema)


def parse_json(content: str | bytes, place: str, schema: Value) -> Any:
  """Returns the content of a JSON text; messages begin with `place`.

  Raises:
    ValueError: see `read_json`.
  """
  try:
    value = json.loads(content)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{place} must be JSON: {error}') from error
  level, depth = [value], 0
  while level := [x for inner in level for x in _inside(inner)]:
    depth += 1
    if depth > _DEEPEST_JSON:
      raise ValueError(
          f'{place} must be JSON of at most {_DEEPEST_JSON} levels of objects'
          ' and lists'
      )
  schema.check(f'{place}:', value)
  return value


def check_size(path: Path, most: int) -> None:
  """Raises ValueError if a file has more than `most` bytes."""
  size = os.path.getsize(path)
  if size > most:
    raise ValueError(f'{path} must have at most {most:,} bytes, got {size:,}')


def check_unpacked(path: Path, size: int) -> None:
  """Raises ValueError if a file unpacks to much more than its own size."""
  most = max(os.path.getsize(path), _MOST_UNPACKED)
  if size > most:
    raise ValueError(f'it unpacks to {size:,} bytes, above {most:,}')


@contextlib.contextmanager
def intact(path: Path, kind: str) -> Iterator[None]:
  """Turns everything that a library raises for a damaged file into ValueError.

  Parsers raise many more errors than they document; parsers in Rust panic,
  which is not an Exception.

  Args:
    path: the file.
    kind: what it must be, such as '.npz file'.
  """
  try:
    yield
  except MemoryError:
    raise
  except BaseException as error:
    of_system = isinstance(error, OSError) and type(error) is not OSError
    if of_system or not (isinstance(error, Exception) or _is_panic(error)):
      raise  # a plain OSError comes from a seek outside the file
    reason = ' '.join(str(error).split())[:200]
    raise ValueError(f'{path} must be an intact {kind}: {reason}') from error


class Npz:
  """The arrays of an .npz file by name, each read when it is asked for.

  Attributes:
    shapes, dtypes: of all arrays, by name.

  Raises:
    OSError: the file does not exist or cannot be read.
    ValueError: it is damaged, holds other things than numbers and texts, or
      unpacks to much more memory than its own size.
  """

  def __init__(self, path: Path):
    self._path = path
    with intact(path, '.npz file'), zipfile.ZipFile(path) as file:
      members = file.infolist()
      check_unpacked(path, sum(member.file_size for member in members))
      headers = {
          member.filename.removesuffix('.npy'): _header(file, member)
          for member in members
      }
    self.shapes = {name: shape for name, (shape, _) in headers.items()}
    self.dtypes = {name: dtype for name, (_, dtype) in headers.items()}

  def array(
      self,
      name: str,
      shape: Sequence[int | None],
      kinds: str = 'iuf',
      *,
      default: np.ndarray | None = None,
  ) -> np.ndarray:
    """Returns an array.

    Args:
      name: the name of the array.
      shape: the shape that it must have; None in it allows any length.
      kinds: the kinds of dtypes that are allowed, as numpy's letters.
      default: the result if there is no such array; None: it must exist.

    Raises:
      ValueError: the array is missing or has another shape or dtype.
    """
    place = f'{self._path}: {name}'
    if name not in self.shapes and default is not None:
      return default
    if name not in self.shapes:
      raise ValueError(f'{place} must be given, it is missing')
    actual, dtype = self.shapes[name], self.dtypes[name]
    same = len(actual) == len(shape)
    if not same or any(m not in (None, n) for n, m in zip(actual, shape)):
      wanted = str(tuple(shape)).replace('None', '*')
      raise ValueError(f'{place} must have shape {wanted}, got {actual}')
    if dtype.kind not in kinds:
      wanted = ' or '.join(_KINDS[kind] for kind in kinds)
      raise ValueError(f'{place} must be {wanted}, got {dtype}')
    with (
        intact(self._path, '.npz file'),
        zipfile.ZipFile(self._path) as archive,
        archive.open(f'{name}.npy') as file,
    ):
      return np.lib.format.read_array(file, allow_pickle=False)

  def text(self, name: str) -> str:
    """Returns a text of at most a million characters; see `array`."""
    if name in self.dtypes and self.dtypes[name].itemsize > _LONGEST_TEXT:
      raise ValueError(f'{self._path}: {name} must be a shorter text')
    return str(self.array(name, (), 'U'))


def _is_panic(error):
  return type(error).__name__ == 'PanicException'


def _inside(value):
  if isinstance(value, dict):
    return value.values()
  return value if isinstance(value, list) else ()


def _header(archive, member):
  """Returns the shape and dtype of an array whose size agrees with them."""
  with archive.open(member) as file:
    version = np.lib.format.read_magic(file)
    shape, _, dtype = _HEADERS[version](file)
    size = member.file_size - file.tell()
  if dtype.kind not in 'biufU' or not dtype.itemsize:
    raise ValueError(f'an array of {dtype} does not hold numbers')
  if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != size:
    raise ValueError(f'{shape} of {dtype} does not take {size:,} bytes')
  return shape, dtype
