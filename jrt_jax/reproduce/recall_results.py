"""Exhibits of the results of `python -m jrt_jax.recall --out=FOLDER`.

A job reads one result. Its hardware, versions and date are those in the file.
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
    {'metrics': _ESTIMATES, 'values': _NUMBERS},
    optional={'against_default': _ESTIMATES},
    others=schema.Anything(),
)
_TASK = schema.Fields(
    {
        'prompts': schema.Fields({}, others=_PROMPT),
        'contexts': _NUMBERS,
        'digest': schema.Text(),
    },
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
            {
                'model': schema.Text(),
                'tasks': schema.ListOf(schema.Text(), 0, 1000),
            },
            others=schema.Anything(),
        ),
        'results': schema.Fields({}, others=_TASK),
        **{name: _TEXT for name in ('hardware', 'device', 'date', 'command')},
        'versions': schema.Fields({}, others=schema.Text()),
        'commit': schema.AnyOf(schema.Text(), schema.OneOf(None)),
        'run': schema.AnyOf(_RUN, schema.OneOf(None)),
    },
    others=schema.Anything(),
)
_START = 'result-'
# Settings that do not interest a reader, or that are the same for all tasks.
_UNSAID = {'model', 'tasks', 'prompts', 'questions', 'fingerprint'}


class Asked(NamedTuple):
  """The answers of a model to a task with one kind of prompt."""

  source: str  # the job of its result
  model: str
  run: Mapping[str, Any]  # `recorded_config.identity`; {}: not our model
  task: str
  prompt: str
  metric: str
  found: Mapping[str, Any]  # the result for this kind of prompt
  contexts: Sequence[int]  # [examples], the context of each
  settings: Mapping[str, Any]  # the settings of this task
  digest: str  # the digest of the examples

  @property
  def is_share(self) -> bool:
    """Whether the metric lies in [0, 1]; otherwise it is a perplexity."""
    return not scores.find(self.metric).is_perplexity

  @property
  def score(self) -> statistics.Estimate:
    """The mean, in percent."""
    return _percent(self.found['metrics'][self.metric])

  @property
  def values(self) -> Sequence[float]:
    """The values of the metric, by example."""
    return self.found['values']


class Gain(NamedTuple):
  """The gain of a kind of prompt over the default on one task, in points."""

  model: str
  task: str
  metric: str
  default: statistics.Estimate
  kind: statistics.Estimate
  gain: statistics.Estimate  # over pairs
  settings: Mapping[str, Any] = {}  # the settings of this task


def jobs(request: exhibit.Request) -> list[exhibit.Job]:
  """Returns a job for each result below --results.

  Raises:
    FileNotFoundError: there is no result.
  """
  command = 'python -m jrt_jax.recall --out=FOLDER'
  return measured.jobs(request, 'result.json', command)


def measure(
    settings: Mapping[str, Any], workdir: pathlib.Path
) -> Mapping[str, Any]:
  """Returns the result of a job of `jobs`, with its provenance.

  It writes nothing to `workdir`.

  Raises:
    ValueError: the file has another content.
  """
  del workdir
  found = foreign.read_json(settings['file'], _RESULT)
  _check_lengths(settings['file'], found['results'])
  return {
      'settings': found['settings'],
      'results': found['results'],
      'run': found['run'] or {},
      'provenance': {
          'hardware': _hardware(found),
          **{x: found[x] for x in ('versions', 'commit', 'date', 'command')},
      },
  }


def _check_lengths(file, results):
  for task, found in results.items():
    for prompt, of_prompt in found['prompts'].items():
      values = of_prompt['values']
      if len(values) != len(found['contexts']):
        raise ValueError(
            f'{file}: {schema.shown(task)} must have a context for each value of'
            f' {schema.shown(prompt)}, got {len(values)} values'
        )


def _hardware(found):
  """The device of the model, and the processor of the process that asked it."""
  asked, device = found['hardware'], found['device']
  if device == 'unknown':
    device = 'unknown device'
  return asked if device == 'CPU' else f'{device} ({asked})'


def asked(results: exhibit.Results) -> Iterator[Asked]:
  """Yields the answers of models, in the order of the results.

  Results of other jobs are skipped. The metric is the first one of each task.
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
              found['contexts'],
              _of_task(settings, task),
              found['digest'],
          )


def gains(results: exhibit.Results, kind: str) -> Iterator[Gain]:
  """Yields the gains of a kind of prompt, by the first metric of each task.

  It skips tasks without both kinds of prompts, tasks whose prompts were cut,
  and perplexities.
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

  If a model has several results for a task, the label includes the settings in
  which they differ.

  Raises:
    ValueError: two results do not differ in a setting that a label can include.
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
          f'--results must have one result for {label} with the prompt {kind},'
          ' got two'
      )
    rows[label] = x.default, x.kind, x.gain
  return rows


def _apart(gain, others):
  """The settings of a gain that others do not share."""
  for name, value in gain.settings.items():
    if any(other.get(name) != value for other in others):
      yield f'{name} {value}'


def _of_task(settings, task):
  """Settings by name; in place of a list, the item for the task."""
  tasks = settings['tasks']
  found = {}
  for name, value in settings.items():
    if isinstance(value, list) and len(value) == len(tasks) and task in tasks:
      value = value[tasks.index(task)]
    if name not in _UNSAID:
      found[name] = value
  return found


def _percent(found):
  return measured.estimate(found).scaled(100)
