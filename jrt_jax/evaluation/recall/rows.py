"""Rows of data sets: JSON lines in files, or a data set of Hugging Face.

Releases of the same data have different fields. A row belongs to the release
with which it shares most fields.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any, NamedTuple

from jrt_jax import foreign
from jrt_jax import schema
from jrt_jax.data import sources
from jrt_jax.evaluation.recall.example import Cut
from jrt_jax.evaluation.recall.example import Example

Row = dict[str, Any]
Rows = Iterator[tuple[str, Row]]

SUFFIXES = ('.jsonl', '.jsonl.gz', '.jsonl.zst')
HUGGING_FACE = 'hf:'
_SPLIT = 'validation'


@dataclasses.dataclass(frozen=True)
class _Filled(schema.Text):
  """A text that is not blank."""

  def __str__(self) -> str:
    return 'a text that is not blank'

  def check(self, key: str, value: Any) -> None:
    super().check(key, value)
    self._require(value.strip(), key, value)


TEXT = schema.Text(2**24)
FILLED = _Filled(2**24)


class Release(NamedTuple):
  """Rows with the same fields, and how they become examples."""

  needed: frozenset[str]
  fields: schema.Fields
  examples: Callable[[Row, Cut], Iterable[Example]]


def release(
    examples: Callable[[Row, Cut], Iterable[Example]],
    *,
    optional: Mapping[str, schema.Value] | None = None,
    **fields: schema.Value,
) -> Release:
  """Returns a release whose rows have these fields, and possibly others.

  Args:
    examples: a function from a row and a `Cut` to examples. It raises
      ValueError if something is wrong with the row.
    optional: fields that it uses if they exist.
    **fields: fields that all rows have.
  """
  allowed = schema.Fields(fields, optional=optional, others=schema.Anything())
  return Release(frozenset(fields), allowed, examples)


def record(**fields: schema.Value) -> schema.Fields:
  """Returns the schema of an object with these keys, and possibly others."""
  return schema.Fields(fields, others=schema.Anything())


def examples(
    releases: Sequence[Release], place: str, row: Row, cut: Cut
) -> Iterator[Example]:
  """Yields the examples of a row.

  Raises:
    ValueError: a field is missing or wrong; the line begins with `place`.
  """

  def fit(release):  # the number of its fields, minus those that are missing
    return len(release.needed & row.keys()) - len(release.needed - row.keys())

  nearest = max(releases, key=fit)
  if not nearest.needed & row.keys():
    wanted = ' or '.join(f'[{", ".join(sorted(r.needed))}]' for r in releases)
    raise ValueError(
        f'{place}: must have the fields {wanted}, got {schema.shown([*row])}'
    )
  nearest.fields.check(f'{place}:', row)
  try:
    yield from nearest.examples(row, cut)
  except ValueError as error:
    raise ValueError(f'{place}: {error}') from error


def find(task: str, paths: Sequence[str], source: str) -> list[str]:
  """Returns the files and data sets of a task.

  Args:
    task: in a folder, the one file is used whose name begins with the task.
    paths: files, folders, and names `hf:NAME`, `hf:NAME:SPLIT` and
      `hf:NAME:SPLIT:CONFIG` of data sets; without any, the source is used.
    source: where the data is: such a name, or a URL.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a folder has several such files, or a file has another format.
  """
  if not paths and not source.startswith(HUGGING_FACE):
    raise FileNotFoundError(f'{task} needs a file: its rows are at {source}')
  return [_find(task, str(path), source) for path in paths or (source,)]


def read(path: str) -> Rows:
  """Yields each row, with its place for messages.

  Raises:
    OSError: a data set cannot be downloaded.
    ValueError: a line is not a JSON object, or the package `datasets` is
      missing.
  """
  if path.startswith(HUGGING_FACE):
    yield from _hugging_face(path)
    return
  for place, line in sources.lines(path):
    yield place, foreign.parse_json(line, place, foreign.OBJECT)


def _find(task, path, source):
  if path.startswith(HUGGING_FACE):
    return path
  given = pathlib.Path(path).expanduser()
  if given.is_dir():
    return _only_file(task, given, source)
  if not given.is_file():
    where = '' if path == source else f': the rows of {task} are at {source}'
    raise FileNotFoundError(f'{path} must be a file that exists{where}')
  if not given.name.endswith(SUFFIXES):
    raise ValueError(f'{path} must end with one of {", ".join(SUFFIXES)}')
  return str(given)


def _only_file(task, folder, source):
  names = sorted(path.name for path in folder.iterdir() if path.is_file())
  start = pathlib.Path(task).name
  found = [x for x in names if x.startswith(start) and x.endswith(SUFFIXES)]
  if not found:
    raise FileNotFoundError(
        f'{folder} has no file {start}*.jsonl: the rows of {task} are at'
        f' {source}'
    )
  if len(found) > 1:
    raise ValueError(
        f'{folder} must have one file for {task}, got {", ".join(found)}'
    )
  return str(folder / found[0])


def _hugging_face(path):
  name, _, rest = path.removeprefix(HUGGING_FACE).partition(':')
  split, _, config = rest.partition(':')
  try:
    import datasets  # needs an extra
  except ImportError as error:
    raise ValueError(
        f"{path} needs the package datasets: pip install -e '.[eval]'"
    ) from error
  try:
    rows = datasets.load_dataset(name, config or None, split=split or _SPLIT)
  except Exception as error:  # its file systems raise many kinds
    reason = ' '.join(str(error).split())
    raise OSError(
        f'{path} cannot be downloaded from Hugging Face: {reason}'
    ) from error
  for number, row in enumerate(rows, 1):
    yield f'{path} row {number}', row
