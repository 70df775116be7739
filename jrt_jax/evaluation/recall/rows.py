"""Rows of data sets: lines of JSON in files, or a data set of Hugging Face.

Other releases of the same data have other fields. A row is taken to be of the
release with which it shares most of them.
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
  """A text with something in it."""

  def __str__(self) -> str:
    return 'a text that is not blank'

  def check(self, key: str, value: Any) -> None:
    super().check(key, value)
    self._require(value.strip(), key, value)


TEXT = schema.Text(2**24)
FILLED = _Filled(2**24)


class Release(NamedTuple):
  """Rows that have the same fields, and the examples that they are."""

  needed: frozenset[str]
  fields: schema.Fields
  examples: Callable[[Row, Cut], Iterable[Example]]


def release(
    examples: Callable[[Row, Cut], Iterable[Example]],
    *,
    optional: Mapping[str, schema.Value] | None = None,
    **fields: schema.Value,
) -> Release:
  """Returns a release whose rows have such fields, and perhaps others.

  Args:
    examples: maps a row, and how contexts are cut, to its examples. A
      ValueError says what is wrong with the row.
    optional: fields that it looks at if they are there.
    **fields: that all rows have.
  """
  allowed = schema.Fields(fields, optional=optional, others=schema.Anything())
  return Release(frozenset(fields), allowed, examples)


def record(**fields: schema.Value) -> schema.Fields:
  """Returns what an object with such keys may be, and perhaps others."""
  return schema.Fields(fields, others=schema.Anything())


def examples(
    releases: Sequence[Release], place: str, row: Row, cut: Cut
) -> Iterator[Example]:
  """Yields the examples of a row.

  Raises:
    ValueError: a field is missing or wrong; the line begins with `place`.
  """

  def fit(release):  # fields that it has, less those that are missing
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
  """Returns the files and data sets that are meant.

  Args:
    task: a folder stands for its one file whose name begins so.
    paths: files, folders, and names `hf:NAME`, `hf:NAME:SPLIT` and
      `hf:NAME:SPLIT:CONFIG` of data sets; none: the source.
    source: where the data can be had: such a name, or an address.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a folder has several, or a file is of another kind.
  """
  if not paths and not source.startswith(HUGGING_FACE):
    raise FileNotFoundError(f'{task} needs a file: its rows are at {source}')
  return [_find(task, str(path), source) for path in paths or (source,)]


def read(path: str) -> Rows:
  """Yields each row, and for errors its place.

  Raises:
    OSError: a data set cannot be had.
    ValueError: a line is no JSON object, or the package `datasets` is missing.
  """
  if path.startswith(HUGGING_FACE):
    yield from _hugging_face(path)
    return
  with sources.open_text(path) as (file, _):
    for number, line in enumerate(file, 1):
      if line.strip():
        place = f'{path}:{number}'
        yield place, foreign.parse_json(line, place, foreign.OBJECT)


def _find(task, path, source):
  if path.startswith(HUGGING_FACE):
    return path
  given = pathlib.Path(path).expanduser()
  if given.is_dir():
    return _only_file(task, given, source)
  if not given.is_file():
    raise FileNotFoundError(
        f'{path} is no file: the rows of {task} are at {source}'
    )
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
    import datasets  # of an extra
  except ImportError as error:
    raise ValueError(
        f"{path} needs the package datasets: pip install -e '.[eval]'"
    ) from error
  try:
    rows = datasets.load_dataset(name, config or None, split=split or _SPLIT)
  except Exception as error:  # those of its file systems have no common kind
    reason = ' '.join(str(error).split())
    raise OSError(
        f'{path} cannot be had from Hugging Face: {reason}'
    ) from error
  for number, row in enumerate(rows, 1):
    yield f'{path} row {number}', row
