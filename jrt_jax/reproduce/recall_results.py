"""What `python -m jrt_jax.recall --out=FOLDER` has measured, for exhibits.

A job reads one result. Who measured it, where and when, is what that file says.
"""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

from jrt_jax import foreign
from jrt_jax import schema
from jrt_jax.evaluation import statistics
from jrt_jax.evaluation.recall import scores
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import measured

_TEXT = schema.Text(2**16)
_NUMBER = schema.AnyOf(schema.Real(-1e300, 1e300), schema.OneOf(None))
_NUMBERS = schema.ListOf(schema.Real(-1e300, 1e300), 0, 10**7)
_ESTIMATE = schema.Fields(
    {
        'estimate': _NUMBER,
        'low': _NUMBER,
        'high': _NUMBER,
        'n': schema.Whole(0, 2**40),
        'method': schema.Text(),
    },
    others=schema.Anything(),
)
_ESTIMATES = schema.Fields(
    {}, optional=dict.fromkeys(scores.METRICS, _ESTIMATE)
)
_PROMPT = schema.Fields(
    {'metrics': _ESTIMATES},
    optional={'against_default': _ESTIMATES, 'values': _NUMBERS},
    others=schema.Anything(),
)
_TASK = schema.Fields(
    {'prompts': schema.Fields({}, others=_PROMPT)},
    optional={'contexts': _NUMBERS, 'digest': schema.Text()},
    others=schema.Anything(),
)
_RUN = schema.Fields(
    {
        'mixers': schema.ListOf(schema.Text(), 0, 1000),
        'seed': schema.Whole(0, 2**32),
        'but_seed': schema.Text(),
    }
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
        'run': schema.AnyOf(_RUN, schema.OneOf(None)),
    },
    others=schema.Anything(),
)
_START = 'result-'
# Settings that tell nothing to a reader, or that a result has for all its tasks.
_UNSAID = {'model', 'tasks', 'prompts', 'questions', 'fingerprint'}


class Asked(NamedTuple):
  """A model, asked the examples of a task with one kind of prompt."""

  source: str  # the job of its result
  model: str
  run: Mapping[str, Any]  # `recorded_config.identity`; {}: it is none of ours
  task: str
  prompt: str
  metric: str
  found: Mapping[str, Any]  # of the kind of prompt
  contexts: Sequence[int]  # [examples], of each
  settings: Mapping[str, Any]  # of this task
  digest: str  # of the examples

  @property
  def is_share(self) -> bool:
    """Whether the metric is one of 0 to 1; else it is a perplexity."""
    return not scores.find(self.metric).is_perplexity

  @property
  def score(self) -> statistics.Estimate:
    """In percent."""
    return _percent(self.found['metrics'][self.metric])

  @property
  def values(self) -> Sequence[float]:
    """Of the metric, by example."""
    return self.found['values']


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
  """Returns a job for each result below --results.

  Raises:
    FileNotFoundError: there is none.
  """
  command = 'python -m jrt_jax.recall --out=FOLDER'
  return measured.jobs(request, 'result.json', command)


def measure(
    settings: Mapping[str, Any], workdir: pathlib.Path
) -> Mapping[str, Any]:
  """Returns the result of a job of `jobs`, and where it comes from.

  Nothing is left in `workdir`.

  Raises:
    ValueError: the file holds something else.
  """
  del workdir
  found = foreign.read_json(settings['file'], _RESULT)
  _check_lengths(settings['file'], found['results'])
  return {
      'settings': found['settings'],
      'results': found['results'],
      'run': found.get('run') or {},
      'provenance': {
          'hardware': _hardware(found),
          'versions': found.get('versions', {}),
          'commit': found.get('commit'),
          'date': found.get('date', 'unknown date'),
          'command': found.get('command', 'python -m jrt_jax.recall'),
      },
  }


def _check_lengths(file, results):
  for task, found in results.items():
    for prompt, of_prompt in found['prompts'].items():
      values = of_prompt.get('values', ())
      if values and len(values) != len(found.get('contexts', ())):
        raise ValueError(
            f'{file}: {schema.shown(task)} must have a context for each value of'
            f' {schema.shown(prompt)}, got {len(values)} values'
        )


def _hardware(found):
  """What the model ran on, and the processor of who asked it."""
  asked = found.get('hardware', 'unknown hardware')
  device = found.get('device', 'CPU')
  if device == 'unknown':
    device = 'unknown device'
  return asked if device == 'CPU' else f'{device} ({asked})'


def asked(results: exhibit.Results) -> Iterator[Asked]:
  """Yields what models were asked, in the order of the results.

  Results of other jobs are passed over. The metric is the first of each task.
  """
  for name, done in results.items():
    if not name.startswith(_START):
      continue
    settings = done.figures['settings']
    for task, found in done.figures['results'].items():
      for prompt, of_prompt in found['prompts'].items():
        if metric := next(iter(of_prompt['metrics']), None):
          yield Asked(
              name,
              settings['model'],
              done.figures['run'],
              task,
              prompt,
              metric,
              of_prompt,
              found.get('contexts', ()),
              _of_task(settings, task),
              found.get('digest', ''),
          )


def gains(results: exhibit.Results, kind: str) -> Iterator[Gain]:
  """Yields what a kind of prompt gains, by the first metric of each task.

  Tasks that were not asked both ways or whose prompts were cut are passed over,
  and perplexities, which are no shares.
  """
  found = [x for x in asked(results) if x.is_share]
  defaults = {
      (x.source, x.task): x.score for x in found if x.prompt == 'default'
  }
  for x in found:
    default = defaults.get((x.source, x.task))
    against = x.found.get('against_default', {})
    if x.prompt == kind and default and x.metric in against:
      gain = _percent(against[x.metric])
      yield Gain(x.model, x.task, x.metric, default, x.score, gain, x.settings)


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
          f'--results must have one result of {label}, read as {kind}, got two'
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
  return measured.estimate(found).scaled(100)
