"""Reads the metrics that runs have recorded, to compare the runs."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import json
import pathlib
import sys
from typing import Any, NamedTuple

import numpy as np

from configs import base
from jrt_jax import dotted
from jrt_jax import foreign
from jrt_jax.reporting import tables
from jrt_jax.reporting import units
from jrt_jax.schema import AnyOf
from jrt_jax.schema import Anything
from jrt_jax.schema import Fields
from jrt_jax.schema import OneOf
from jrt_jax.schema import Real
from jrt_jax.schema import Whole

_LONGEST_SETTING = 24  # characters; longer ones would fill the legend
_MOST_SETTINGS = 3

# Prefixes of metrics of evaluations; unlike training metrics, they are not
# smoothed.
EVALUATED = ('held_out/', 'probe/')

_LARGEST = sys.float_info.max
_SIZES = ('batch_size', 'sequence_length')
_CONFIG = Fields({k: base.RANGES[k] for k in _SIZES}, others=Anything())
_LINE = Fields(
    {'step': Whole(0, 10**9)},
    optional={'tokens': Whole(0, 10**18)},
    others=AnyOf(OneOf(None), Real(-_LARGEST, _LARGEST)),
)


class NoRun(ValueError):
  """A path is not the workdir of a run that has trained."""


class Curve(NamedTuple):
  """A metric over the course of a run; float64 [n] each."""

  tokens: np.ndarray  # training tokens so far
  seconds: np.ndarray  # training time, without compiling, evaluating and saving
  values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Run:
  """The recorded metrics of a run.

  Attributes:
    label: a short name; `read` adds settings that differ from other runs.
    step: the last recorded step.
    curves: curves by their names in metrics.jsonl; those of evaluations begin
      with one of `EVALUATED`.
  """

  label: str
  step: int
  curves: Mapping[str, Curve]

  def last(self, name: str) -> float | None:
    """Returns the last value of a metric, or None."""
    curve = self.curves.get(name)
    return None if curve is None else float(curve.values[-1])

  def smoothed(self, share: float) -> 'Run':
    """Returns the run with smoothed training curves.

    Args:
      share: each point becomes the mean over this latest fraction of the tokens
        trained on up to it.
    """
    curves = {
        name: c if name.startswith(EVALUATED) else _smooth(c, share)
        for name, c in self.curves.items()
    }
    return dataclasses.replace(self, curves=curves)

  def per_byte(self) -> 'Run':
    """Returns the run with `bits_per_byte` in place of `next_token_loss`.

    Tokens are assumed to have as many bytes as those of the held-out text. That
    is unknown before the first evaluation; then the loss is left out.
    """
    curves = {**self.curves}
    loss = curves.pop('next_token_loss', None)
    nats = self.last('held_out/next_token_loss')
    bits = self.last('held_out/bits_per_byte')
    if loss and nats and bits:
      values = loss.values * bits / nats
      curves['bits_per_byte'] = loss._replace(values=values)
    return dataclasses.replace(self, curves=curves)


def read(
    workdirs: Sequence[str], *, skip: Callable[[NoRun], None] | None = None
) -> list[Run]:
  """Reads runs, which may still be going on.

  If their tokenizers differ, training losses are in bits per byte, since nats
  per token cannot be compared.

  Args:
    workdirs: folders of runs.
    skip: called with the error for each path that is not a run; the path is
      left out. Without `skip`, or if no path is a run, it is an error.

  Raises:
    ValueError: a path is given twice, is not a run, or has damaged files.
  """
  paths = [pathlib.Path(workdir).resolve() for workdir in workdirs]
  for path, workdir in zip(paths, workdirs):
    if paths.count(path) > 1:
      raise ValueError(f'{workdir} is given twice')
  found, errors = [], []
  for path, workdir in zip(paths, workdirs):
    try:
      found.append((path, *_read(pathlib.Path(workdir))))
    except NoRun as error:
      errors.append(error)
  if errors and not (skip and found):
    raise errors[0]
  for error in errors:
    skip(error)
  paths, configs, all_lines = zip(*found)
  runs = [
      Run(label, lines[-1]['step'], _curves(lines, config))
      for label, config, lines in zip(
          _labels(paths, configs), configs, all_lines
      )
  ]
  if len({config.get('data.tokenizer', 'bytes') for config in configs}) > 1:
    runs = [run.per_byte() for run in runs]
  return runs


def table(runs: Sequence[Run]) -> str:
  """Returns a table of the last metrics of runs; `loss` is of next tokens."""
  rows = [('run', 'steps', 'tokens', 'loss', 'bits/byte', 'recall', 'tokens/s')]
  for run in runs:
    tokens = run.curves['step_seconds'].tokens[-1]
    rows.append(
        (
            run.label,
            f'{run.step:,}',
            units.count(tokens),
            _text(run.last('next_token_loss'), '.3f'),
            _text(run.last('held_out/bits_per_byte'), '.3f'),
            _text(run.last('held_out/recall_accuracy'), '.1%'),
            _text(run.last('tokens_per_second'), ',.0f'),
        )
    )
  return tables.aligned(rows, '<>')


def _text(value, spec):
  return '–' if value is None else format(value, spec)


def _read(workdir):
  """Returns the config of a run and the lines of its metrics."""
  config = _read_config(workdir)
  file = workdir / 'metrics.jsonl'
  lines = _read_lines(file)
  if not any('step_seconds' in line for line in lines):
    raise NoRun(f'{workdir} has no metrics of training yet, in {file}')
  return config, lines


def _read_config(workdir):
  """Returns the config with dotted keys."""
  file = workdir / 'config.json'
  if not file.is_file():
    raise NoRun(f'{workdir} is not a run: there is no {file}')
  try:
    config = foreign.read_json(file, _CONFIG)
  except ValueError as error:
    raise NoRun(f'{workdir} is not a run: {error}') from error
  return dotted.flat(config)


def _read_lines(file):
  if not file.is_file():
    return []
  *lines, rest = file.read_text(encoding='utf-8', errors='replace').split('\n')
  del rest  # a line that is being written
  return [
      foreign.parse_json(line, f'{file}:{i}', _LINE)
      for i, line in enumerate(lines, 1)
  ]


def _curves(lines, config):
  """Returns {name: Curve} of all metrics that have a number in some line."""
  training = [line for line in lines if 'step_seconds' in line]
  steps = np.array([0] + [line['step'] for line in training])
  per_step = config['batch_size'] * config['sequence_length']
  tokens = [line.get('tokens', line['step'] * per_step) for line in training]
  pace = np.array([line['step_seconds'] for line in training], float)
  seconds = np.cumsum(np.diff(steps) * np.nan_to_num(pace))
  curves = {}
  for name in {name: None for line in lines for name in line}:
    points = [(x['step'], x[name]) for x in lines if x.get(name) is not None]
    if points:
      at, values = np.array(points, float).T
      curves[name] = Curve(
          np.interp(at, steps, [0, *tokens]),
          np.interp(at, steps, [0, *seconds]),
          values,
      )
  return curves


def _smooth(curve, share):
  end = np.arange(len(curve.values)) + 1
  first = np.searchsorted(curve.tokens, (1 - share) * curve.tokens)
  sums = np.cumsum([0, *curve.values])
  return curve._replace(values=(sums[end] - sums[first]) / (end - first))


def _labels(paths, configs):
  """Labels of runs: distinct names, and the settings that differ."""
  return [
      f'{name} ({settings})' if settings else name
      for name, settings in zip(_names(paths), _differences(configs))
  ]


def _names(paths, length=1):
  """The ends of paths, long enough to be distinct."""
  names = ['/'.join(path.parts[-length:]) for path in paths]
  if len(set(names)) == len(paths):
    return names
  return _names(paths, length + 1)


def _differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns the settings that differ, as in 'feature_dim=8, objective=jrt'."""
  shared = [key for key in configs[0] if all(key in c for c in configs)]
  different = [
      key
      for key in shared
      if any(config[key] != configs[0][key] for config in configs)
      and max(len(_shown(c[key])) for c in configs) <= _LONGEST_SETTING
  ]
  more = ', …' if len(different) > _MOST_SETTINGS else ''
  short = {key: _short(key, shared) for key in different[:_MOST_SETTINGS]}
  return [
      ', '.join(f'{s}={_shown(config[key])}' for key, s in short.items()) + more
      for config in configs
  ]


def _short(key, keys):
  """The shortest unique end of a dotted key, without `.name`."""
  end, *rest = reversed(key.split('.'))
  while sum(f'.{other}'.endswith(f'.{end}') for other in keys) > 1:
    end = f'{rest.pop(0)}.{end}'
  return end.removesuffix('.name')


def _shown(value):
  return value if isinstance(value, str) else json.dumps(value)
