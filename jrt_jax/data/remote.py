"""Files that URLs name, such as s3://bucket/part.jsonl.gz, read with fsspec."""

from collections.abc import Iterator
import contextlib
import io
from typing import BinaryIO

_BUFFER = 2**20


def is_url(path: str) -> bool:
  """Whether a path names a file that is not on this machine."""
  return '://' in path


def find(pattern: str) -> list[str]:
  """Returns the URLs of the files that a URL or a glob matches, sorted.

  Raises:
    ValueError: fsspec does not know the protocol, or needs another package.
    OSError: the place cannot be reached.
  """
  import fsspec  # only commands that are given URLs need its second to start

  with _clear(pattern):
    files, path = fsspec.core.url_to_fs(pattern)
    if files.isfile(path):
      return [pattern]
    found = files.glob(path, detail=True)
    names = [name for name, x in found.items() if x['type'] == 'file']
    return sorted(files.unstrip_protocol(name) for name in names)


def size(url: str) -> int:
  """Returns the bytes of a file; 0 if its server does not tell."""
  import fsspec

  with _clear(url):
    files, path = fsspec.core.url_to_fs(url)
    return files.size(path) or 0


def open_binary(url: str) -> BinaryIO:
  """Opens a file for reading, piece by piece; it can be searched."""
  import fsspec

  with _clear(url):
    files, path = fsspec.core.url_to_fs(url)
    return io.BufferedReader(_File(files.open(path, 'rb'), url), _BUFFER)


class _File(io.RawIOBase):
  """A file of fsspec, whose errors have one line that names the URL."""

  def __init__(self, file, url):
    self._file, self._url = file, url

  def readable(self):
    return True

  def seekable(self):
    return True

  def readinto(self, buffer):
    with _clear(self._url):
      content = self._file.read(len(buffer))
    buffer[: len(content)] = content
    return len(content)

  def seek(self, offset, whence=0):
    with _clear(self._url):
      return self._file.seek(offset, whence)

  def tell(self):
    return self._file.tell()

  def close(self):
    if not self.closed:
      self._file.close()
    super().close()


@contextlib.contextmanager
def _clear(url: str) -> Iterator[None]:
  """Turns the errors of any file system into one line."""
  try:
    yield
  except Exception as error:
    reason = ' '.join((str(error) or repr(error)).split())
    kind = (
        ValueError if isinstance(error, ValueError | ImportError) else OSError
    )
    raise kind(f'{url} cannot be read: {reason}') from error
