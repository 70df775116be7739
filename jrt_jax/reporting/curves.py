"""What runs have recorded, to compare them."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import json
import pathlib
import sys
from typing import Any, NamedTuple

from flax import traverse_util
import numpy as np

from configs import base
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

# How metrics begin that are not of training steps: they are not smoothed.
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

  tokens: np.ndarray  # trained on so far
  seconds: np.ndarray  # of training, less compiling, evaluating and saving
  values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Run:
  """A run by its workdir.

  Attributes:
    label: a short name; `read` adds settings that tell it from other runs.
    step: the last one that is recorded.
    curves: by the names in metrics.jsonl; those of evaluations begin with one
      of `EVALUATED`.
  """

  label: str
  step: int
  curves: Mapping[str, Curve]

  def last(self, name: str) -> float | None:
    """The last value of a metric; None if there is none."""
    curve = self.curves.get(name)
    return None if curve is None else float(curve.values[-1])

  def smoothed(self, share: float) -> 'Run':
    """Each point of the training curves becomes a mean over what was last.

    Args:
      share: of the tokens trained on so far, that the mean is over: the newest.
    """
    curves = {
        name: c if name.startswith(EVALUATED) else _smooth(c, share)
        for name, c in self.curves.items()
    }
    return dataclasses.replace(self, curves=curves)

  def per_byte(self) -> 'Run':
    """Replaces `next_token_loss` by `bits_per_byte`.

    Tokens have as many bytes as those of the held-out text; before the first
    evaluation that is not known, and the loss is left out.
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

  Where their tokenizers differ, so does what a nat per token says: training
  losses are in bits per byte then.

  Args:
    workdirs: of runs.
    skip: is called for each path that is no run, which is then left out. By
      default that is an error, as it is if there is no run at all.

  Raises:
    ValueError: a path is given twice, or is no run, or its files are damaged.
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
  """Returns the ends of runs, one a line; the loss is of next tokens."""
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
  """Returns the config of a run, and what it has logged."""
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
    raise NoRun(f'{workdir} is no run: there is no {file}')
  try:
    config = foreign.read_json(file, _CONFIG)
  except ValueError as error:
    raise NoRun(f'{workdir} is no run: {error}') from error
  return traverse_util.flatten_dict(config, sep='.')


def _read_lines(file):
  if not file.is_file():
    return []
  *lines, rest = file.read_text(encoding='utf-8', errors='replace').split('\n')
  del rest  # what is being written now
  return [
      foreign.parse_json(line, f'{file}:{i}', _LINE)
      for i, line in enumerate(lines, 1)
  ]


def _curves(lines, config):
  """Returns {name: Curve} of all that is a number somewhere."""
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
  """Names that differ, and the short ones of the settings that do."""
  return [
      f'{name} ({settings})' if settings else name
      for name, settings in zip(_names(paths), _differences(configs))
  ]


def _names(paths, length=1):
  """The ends of paths, as long as they must be to differ."""
  names = ['/'.join(path.parts[-length:]) for path in paths]
  if len(set(names)) == len(paths):
    return names
  return _names(paths, length + 1)


def _differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns what sets each config apart, 'feature_dim=8, objective=jrt'."""
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
  """The end of a dotted key that no other has; a choice without its .name."""
  end, *rest = reversed(key.split('.'))
  while sum(f'.{other}'.endswith(f'.{end}') for other in keys) > 1:
    end = f'{rest.pop(0)}.{end}'
  return end.removesuffix('.name')


def _shown(value):
  return value if isinstance(value, str) else json.dumps(value)
