"""The folder of an evaluation, with its settings and the answers so far.

`settings.json` has the settings. `examples.jsonl` has a line for each finished
example, so that the same command continues after an interruption.
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
  """Yields the folder of an evaluation, and locks it for this process.

  Args:
    path: a new folder, or one with the same settings.
    settings: the settings of the evaluation.

  Raises:
    ValueError: the folder has other settings or other content, or is in use.
    OSError: it cannot be read or written.
  """
  settings = json.loads(json.dumps(settings))  # tuples become lists
  path.mkdir(parents=True, exist_ok=True)
  there = {file.name for file in path.iterdir()} - {folder_lock.FILE}
  if there and _SETTINGS not in there:
    raise ValueError(
        f'--out must be a new folder or one that this command wrote, got'
        f' {path}, which has no {_SETTINGS}'
    )
  with folder_lock.held(path, '--out'):
    if (path / _SETTINGS).exists():
      _check_same(path, settings)
    provenance.write_json(path / _SETTINGS, settings)
    yield Folder(path, _read(path / _EXAMPLES))


class Folder(NamedTuple):
  """The rows of an evaluation; each is written to disk at once.

  Attributes:
    path: the path of the folder.
    rows: the rows that were finished before.
  """

  path: pathlib.Path
  rows: Sequence[Mapping[str, Any]]

  def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds finished rows."""
    lines = [json.dumps(row, allow_nan=False) + '\n' for row in rows]
    with (self.path / _EXAMPLES).open('a') as file:
      file.write(''.join(lines))

  def finish(self, result: Mapping[str, Any]) -> pathlib.Path:
    """Writes the result; returns its file."""
    provenance.write_json(self.path / _RESULT, result)
    return self.path / _RESULT


def environment(model: language_models.LanguageModel) -> dict[str, Any]:
  """Returns versions and hardware, on which answers depend besides settings.

  See `provenance.describe`. `hardware` is that of this process, and `device` is
  the model's own. jax does not open devices here: another library may need
  their memory.
  """
  found = provenance.describe(on_jax=False)
  return found | {'device': getattr(model, 'device', 'unknown')}


def _check_same(path, settings):
  there = foreign.read_json(path / _SETTINGS, foreign.OBJECT)
  for name in {**there, **settings}:
    if there.get(name) != settings.get(name):
      was, now = (schema.shown(x.get(name)) for x in (there, settings))
      raise ValueError(
          f'--out must be a folder with the same settings, got {path}, whose'
          f' {name} is {was} and not {now}'
      )


def _read(path):
  """Returns the rows of a file; drops an incomplete last line."""
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
