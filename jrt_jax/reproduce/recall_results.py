"""What `python -m jrt_jax.recall --out=FOLDER` has measured, for exhibits.

A job reads one result. Who measured it, where and when, is what that file says.
"""

import collections
from collections.abc import Iterable, Iterator, Mapping
import math
import pathlib
from typing import Any, NamedTuple
import zlib

from jrt_jax import foreign
from jrt_jax import schema
from jrt_jax.evaluation import statistics
from jrt_jax.reproduce import exhibit

_TEXT = schema.Text(2**16)
_NUMBER = schema.AnyOf(schema.Real(-1e300, 1e300), schema.OneOf(None))
_ESTIMATES = schema.Fields(
    {},
    others=schema.Fields(
        {
            'estimate': _NUMBER,
            'low': _NUMBER,
            'high': _NUMBER,
            'n': schema.Whole(0, 2**40),
            'method': schema.Text(),
        },
        others=schema.Anything(),
    ),
)
_PROMPT = schema.Fields(
    {'metrics': _ESTIMATES},
    optional={'against_default': _ESTIMATES},
    others=schema.Anything(),
)
_TASK = schema.Fields(
    {'prompts': schema.Fields({}, others=_PROMPT)}, others=schema.Anything()
)
_RESULT = schema.Fields(
    {
        'settings': schema.Fields(
            {'model': schema.Text()},
            optional={'tasks': schema.ListOf(schema.Text(), 0, 1000)},
            others=schema.Anything(),
        ),
        'results': schema.Fields({}, others=_TASK),
    },
    optional={
        **{name: _TEXT for name in ('hardware', 'device', 'date', 'command')},
        'versions': schema.Fields({}, others=schema.Text()),
        'commit': schema.AnyOf(schema.Text(), schema.OneOf(None)),
    },
    others=schema.Anything(),
)
_START = 'recall-'
# Settings that tell nothing to a reader, or that a result has for all its tasks.
_UNSAID = {'model', 'tasks', 'prompts', 'questions', 'fingerprint'}


class Gain(NamedTuple):
  """A kind of prompt beside the default, on one task; points of percent."""

  model: str
  task: str
  metric: str
  default: statistics.Estimate
  kind: statistics.Estimate
  gain: statistics.Estimate  # of pairs
  settings: Mapping[str, Any] = {}  # of this task


def jobs(request: exhibit.Request) -> list[exhibit.Job]:
  """Returns a job for each result below --recall.

  Raises:
    FileNotFoundError: --recall is given and has none.
  """
  if request.recall is None:
    return []
  paths = sorted(request.recall.rglob('result.json'))
  if not paths:
    raise FileNotFoundError(
        '--recall must have results of python -m jrt_jax.recall --out=FOLDER,'
        f' got {request.recall}, which has no result.json'
    )
  return [
      exhibit.Job(
          f'{_START}{i}',
          {'file': str(path), 'crc32': zlib.crc32(path.read_bytes())},
      )
      for i, path in enumerate(paths)
  ]


def measure(settings: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns the result of a job of `jobs`, and where it comes from.

  Raises:
    ValueError: the file holds something else.
  """
  found = foreign.read_json(settings['file'], _RESULT)
  return {
      'settings': found['settings'],
      'results': found['results'],
      'provenance': {
          'hardware': _hardware(found),
          'versions': found.get('versions', {}),
          'commit': found.get('commit'),
          'date': found.get('date', 'unknown date'),
          'command': found.get('command', 'python -m jrt_jax.recall'),
      },
  }


def _hardware(found):
  """What the model ran on, and the processor of who asked it."""
  asked = found.get('hardware', 'unknown hardware')
  device = found.get('device', 'CPU')
  if device == 'unknown':
    device = 'unknown device'
  return asked if device == 'CPU' else f'{device} ({asked})'


def gains(results: exhibit.Results, kind: str) -> Iterator[Gain]:
  """Yields what a kind of prompt gains, by the first metric of each task.

  Results of other jobs are passed over, and tasks that were not asked both ways
  or whose prompts were cut. A perplexity is no share, and is passed over too.
  """
  for name, done in results.items():
    if not name.startswith(_START):
      continue
    settings = done.figures['settings']
    for task, found in done.figures['results'].items():
      default, other = (found['prompts'].get(x) for x in ('default', kind))
      if not default or not other or 'against_default' not in other:
        continue
      metric = next(iter(default['metrics']), 'perplexity')
      both = other['metrics'].keys() & other['against_default'].keys()
      if metric == 'perplexity' or metric not in both:
        continue
      yield Gain(
          settings['model'],
          task,
          metric,
          _percent(default['metrics'][metric]),
          _percent(other['metrics'][metric]),
          _percent(other['against_default'][metric]),
          _of_task(settings, task),
      )


def table(gains: Iterable[Gain], kind: str) -> dict[str, tuple[Any, ...]]:
  """Returns (default, kind, gain) by model and task.

  Where a model was asked a task several times, the label has the settings in
  which these times differ.

  Raises:
    ValueError: two results differ in no setting that a label can have.
  """
  gains = [*gains]
  alike = collections.defaultdict(list)
  for x in gains:
    alike[x.model, x.task].append(x.settings)
  rows = {}
  for x in gains:
    label = ', '.join([x.model, x.task, *_apart(x, alike[x.model, x.task])])
    if label in rows:
      raise ValueError(
          f'--recall must have one result of {label}, read as {kind}, got two'
      )
    rows[label] = x.default, x.kind, x.gain
  return rows


def _apart(gain, others):
  """The settings of a gain that are not those of all others."""
  for name, value in gain.settings.items():
    if any(other.get(name) != value for other in others):
      yield f'{name} {value}'


def _of_task(settings, task):
  """Settings by name; of those that are lists, the item of the task."""
  tasks = settings.get('tasks', ())
  found = {}
  for name, value in settings.items():
    if isinstance(value, list) and len(value) == len(tasks) and task in tasks:
      value = value[tasks.index(task)]
    if name not in _UNSAID:
      found[name] = value
  return found


def _percent(found):
  number = lambda x: math.nan if x is None else x
  three = (number(found[key]) for key in ('estimate', 'low', 'high'))
  return statistics.Estimate(*three, found['n'], found['method']).scaled(100)
