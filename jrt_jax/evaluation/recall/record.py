"""The folder of an evaluation: what was asked, and what was answered so far.

`settings.json` says what was asked; examples.jsonl has a line for each example
that is finished, so that the same command goes on where it was interrupted.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import json
import os
import pathlib
from typing import Any, NamedTuple

from jrt_jax import foreign
from jrt_jax import schema
from jrt_jax.evaluation import language_models
from jrt_jax.evaluation.recall import errors
from jrt_jax.reporting import provenance
from jrt_jax.runtime import folder_lock

_SETTINGS, _EXAMPLES, _RESULT = 'settings.json', 'examples.jsonl', 'result.json'
_NUMBER = schema.Real(-1e300, 1e300)
_NONE = schema.OneOf(None)
_ROW = schema.Fields(
    {
        'task': schema.Text(),
        'prompt': schema.Text(),
        'id': schema.Text(),
        'tokens': schema.Whole(0, 2**40),
        'cut': schema.Flag(),
        'prefill_ms': schema.AnyOf(_NUMBER, _NONE),
        'values': schema.Fields({}, others=_NUMBER),
        'error': schema.AnyOf(schema.OneOf(*errors.CLASSES), _NONE),
    },
    optional={'read_tokens': schema.Whole(0, 2**40)},
    others=schema.Anything(),
)


@contextlib.contextmanager
def opened(
    path: pathlib.Path, settings: Mapping[str, Any]
) -> Iterator['Folder']:
  """Yields the folder of an evaluation, which no other process has meanwhile.

  Args:
    path: a new folder, or one of the same settings.
    settings: what is asked.

  Raises:
    ValueError: the folder holds something else, or another run, or is in use.
    OSError: it cannot be read or written.
  """
  settings = json.loads(json.dumps(settings))  # tuples become lists
  path.mkdir(parents=True, exist_ok=True)
  there = {file.name for file in path.iterdir()} - {folder_lock.FILE}
  if there and _SETTINGS not in there:
    raise ValueError(
        f'--out must be a new folder or one of this command, got {path},'
        f' which has no {_SETTINGS}'
    )
  with folder_lock.held(path, '--out'):
    if (path / _SETTINGS).exists():
      _check_same(path, settings)
    provenance.write_json(path / _SETTINGS, settings)
    yield Folder(path, _read(path / _EXAMPLES))


class Folder(NamedTuple):
  """Where rows are kept; each is on the disk as soon as it is there.

  Attributes:
    path: of the folder.
    rows: those that were finished before.
  """

  path: pathlib.Path
  rows: Sequence[Mapping[str, Any]]

  def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds what was finished."""
    lines = [json.dumps(row, allow_nan=False) + '\n' for row in rows]
    with (self.path / _EXAMPLES).open('a') as file:
      file.write(''.join(lines))

  def finish(self, result: Mapping[str, Any]) -> pathlib.Path:
    """Writes the result; returns its file."""
    provenance.write_json(self.path / _RESULT, result)
    return self.path / _RESULT


def environment(model: language_models.LanguageModel) -> dict[str, Any]:
  """Returns what answers depend on besides settings: see `provenance.describe`.

  `hardware` is that of this process, and `device` what the model says of its
  own. The devices of jax are left alone: another library may need their memory.
  """
  found = provenance.describe(on_jax=False)
  return found | {'device': getattr(model, 'device', 'unknown')}


def _check_same(path, settings):
  there = foreign.read_json(path / _SETTINGS, foreign.OBJECT)
  for name in {**there, **settings}:
    if there.get(name) != settings.get(name):
      was, now = (schema.shown(x.get(name)) for x in (there, settings))
      raise ValueError(
          f'--out must be a folder of the same run, got {path}, whose {name} is'
          f' {was} and not {now}'
      )


def _read(path):
  """Returns the rows of a file; drops a last line that is not whole."""
  if not path.exists():
    return []
  content = path.read_bytes()
  whole = content[: content.rfind(b'\n') + 1]
  if len(whole) < len(content):  # it was killed while it wrote
    os.truncate(path, len(whole))
  return [
      foreign.parse_json(line, f'{path}:{number}', _ROW)
      for number, line in enumerate(whole.splitlines(), start=1)
  ]
