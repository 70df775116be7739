"""The folder of an evaluation: what was asked, and what was answered so far.

`settings.json` says what was asked; examples.jsonl has a line for each example
that is finished, so that the same command goes on where it was interrupted.
"""

from collections.abc import Mapping, Sequence
import json
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax

import jrt_jax
from jrt_jax import foreign
from jrt_jax import schema
from jrt_jax.evaluation.recall import errors

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


class Folder:
  """Where rows are kept; each is on the disk as soon as it is there.

  Attributes:
    rows: those that were finished before.

  Raises:
    ValueError: the folder holds something else, or another run.
    OSError: it cannot be read or written.
  """

  def __init__(self, path: pathlib.Path, settings: Mapping[str, Any]):
    self.path = path
    settings = json.loads(json.dumps(settings))  # tuples become lists
    if (path / _SETTINGS).exists():
      _check_same(path, settings)
    elif path.exists() and any(path.iterdir()):
      raise ValueError(
          f'--out must be a new folder or one of this command, got {path},'
          f' which has no {_SETTINGS}'
      )
    path.mkdir(parents=True, exist_ok=True)
    write(path / _SETTINGS, settings)
    self.rows = _read(path / _EXAMPLES)

  def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds what was finished."""
    lines = [json.dumps(row, allow_nan=False) + '\n' for row in rows]
    with (self.path / _EXAMPLES).open('a') as file:
      file.write(''.join(lines))

  def finish(self, result: Mapping[str, Any]) -> pathlib.Path:
    """Writes the result; returns its file."""
    write(self.path / _RESULT, result)
    return self.path / _RESULT


def write(path: pathlib.Path, value: Mapping[str, Any]) -> None:
  """Writes JSON; a reader finds either the old file or the new one."""
  new = path.with_name(f'{path.name}.new')
  new.write_text(json.dumps(value, indent=2) + '\n')
  os.replace(new, path)


def environment(*, on_jax: bool) -> dict[str, Any]:
  """Returns on what is measured: hardware, versions, and the commit if known.

  Args:
    on_jax: whether jax computes. Its devices are left alone if not: another
      library may need their memory.
  """
  device = f'{os.cpu_count()}-core {platform.machine()} CPU'
  if on_jax and jax.default_backend() != 'cpu':
    device = f'{jax.device_count()} x {jax.devices()[0].device_kind}'
  return {
      'hardware': device,
      'versions': {
          'jrt_jax': jrt_jax.__version__,
          'jax': jax.__version__,
          'python': platform.python_version(),
      },
      'commit': _commit(),
  }


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


def _commit():
  """Of the checkout that the package is in; None if it is in none."""
  root = pathlib.Path(jrt_jax.__file__).parents[1]
  if not (root / '.git').exists():  # not of a checkout around an installation
    return None
  command = ['git', 'describe', '--always', '--dirty=+', '--abbrev=40']
  try:
    done = subprocess.run(
        [*command, '--exclude=*'],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
  except (OSError, subprocess.CalledProcessError):
    return None
  return done.stdout.strip()
