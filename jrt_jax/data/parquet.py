"""Reads the text of one column of a Parquet file."""

from collections.abc import Iterator
import contextlib
import types
from typing import Any, BinaryIO

from jrt_jax.schema import shown

# A row group may be larger than memory. Pages are therefore read in pieces of so
# many bytes, not all of a column at once, and so many rows are decoded at once.
_BUFFER = 2**20
_ROWS = 2**7


class TextColumn:
  """The rows of a text column, in the order of the file.

  Args:
    file: an open Parquet file.
    path: its name, for error messages.
    name: the name of the column.

  Attributes:
    num_rows: number of rows of the file.

  Raises:
    ValueError: pyarrow is missing, the file is broken, or the column does not
      have text.
  """

  def __init__(self, file: BinaryIO, path: str, name: str):
    self._arrow, parquet = _pyarrow(path)
    self._path, self._name = path, name
    with self._intact():
      self._file = parquet.ParquetFile(
          file, buffer_size=_BUFFER, pre_buffer=False
      )
      schema = self._file.schema_arrow
    if schema.names.count(name) != 1:
      raise ValueError(
          f'{path}: text_key={name!r} must name one column, got columns'
          f' {shown(schema.names)}'
      )
    kind = schema.field(name).type
    if not self._is_text(kind):
      raise ValueError(
          f'{path}: text_key={name!r} must name a column of text, got {kind}'
      )
    self.num_rows = self._file.metadata.num_rows

  def rows(self, first: int = 0) -> Iterator[bytes]:
    """Yields the text of each row in UTF-8 from row `first` on; b'' for null.

    Row groups before that row are not read.

    Raises:
      ValueError: the file is broken.
      OSError: the file cannot be read.
    """
    for group in range(self._file.num_row_groups):
      with self._intact():
        num_rows = self._file.metadata.row_group(group).num_rows
      if first < num_rows:
        for text in self._texts(group):
          if first:
            first -= 1
          else:
            yield text
      else:
        first -= num_rows

  def _texts(self, group):
    with self._intact():
      batches = self._file.iter_batches(
          _ROWS, row_groups=[group], columns=[self._name]
      )
      for batch in batches:
        # A name with a dot may also select a field of a struct.
        texts = batch.column(self._name).cast(self._arrow.large_string())
        for text in texts.cast(self._arrow.large_binary()).to_pylist():
          yield text or b''

  def _is_text(self, kind):
    arrow = self._arrow.types
    if arrow.is_dictionary(kind):
      kind = kind.value_type
    return (
        arrow.is_string(kind)
        or arrow.is_large_string(kind)
        or arrow.is_string_view(kind)
    )

  @contextlib.contextmanager
  def _intact(self):
    try:
      yield
    except MemoryError:  # also an ArrowException
      raise
    except (self._arrow.ArrowException, OSError) as error:
      if isinstance(error, OSError) and error.errno is not None:
        raise  # of the disk or the network
      reason = ' '.join(str(error).split())
      raise ValueError(f'{self._path}: broken .parquet file ({reason})') from (
          error
      )


def _pyarrow(path: str) -> tuple[types.ModuleType | Any, types.ModuleType]:
  try:
    import pyarrow  # needs an extra
    from pyarrow import parquet
  except ImportError as error:
    raise ValueError(
        f"{path} needs the package pyarrow: pip install -e '.[parquet]'"
    ) from error
  return pyarrow, parquet
