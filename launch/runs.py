"""The runs that a command line asks for: one, or each point of a sweep."""

from collections.abc import Mapping, Sequence
import itertools
import pathlib
import re
import shlex
from typing import NamedTuple

_FLAT = r"""[^()[\]{}'"]*"""
# Quotes, and brackets that hold neither quotes nor brackets.
_HELD = re.compile(
    rf"""'[^']*'|"[^"]*"|\({_FLAT}\)|\[{_FLAT}\]|\{{{_FLAT}\}}"""
)


class Run(NamedTuple):
  """A run, and the flags with which it is started.

  Attributes:
    module: what is started with `python -m`.
    origin: --config=FILE or --from=WORKDIR.
    workdir: the folder of the run.
    flags: flags of all runs of the command line.
    swept: flags of this run of a sweep only.
  """

  module: str
  origin: str
  workdir: str
  flags: Sequence[str] = ()
  swept: Sequence[str] = ()

  @property
  def own(self) -> list[str]:
    """The flags that the other runs of a sweep do not have."""
    return [f'--workdir={self.workdir}', *self.swept]

  def command(self, python: str, *places: str) -> list[str]:
    """Returns the command, with flags that say how processes meet."""
    program = [python, '-m', self.module]
    return [*program, self.origin, *self.own, *places, *self.flags]

  def shell(self, python: str, *places: str, own: str = '') -> str:
    """Returns the command for a shell, a flag a line; `own` replaces its own."""
    program = shlex.join([python, '-m', self.module])
    origin, *flags = map(shlex.quote, [self.origin, *places, *self.flags])
    middle = [own] if own else map(shlex.quote, self.own)
    return ' \\\n  '.join([program, origin, *middle, *flags])


def of_sweep(run: Run, axes: Sequence[str]) -> list[Run]:
  """Returns a run for each point of a grid; the run itself without axes.

  Each has a folder of its own in the workdir, as in peak_lr=4e-4+seed=1.

  Args:
    run: what the runs share.
    axes: --sweep, each config.KEY=VALUE,VALUE…

  Raises:
    ValueError: an axis has another form, a key is set twice, or two runs would
      have the same folder.
  """
  if not axes:
    return [run]
  values = dict(_parse(axis) for axis in axes)
  for key in values:
    if sum(axis.removeprefix('--').startswith(f'{key}=') for axis in axes) > 1:
      raise ValueError(f'--sweep must have each key once, got {key} twice')
    if any(re.match(f'--{re.escape(key)}(=|$)', flag) for flag in run.flags):
      raise ValueError(f'--sweep must not have {key}: --{key} is a flag, too')
  points = [
      dict(zip(values, point)) for point in itertools.product(*values.values())
  ]
  names = [_name(point) for point in points]
  if twice := sorted({name for name in names if names.count(name) > 1}):
    raise ValueError(
        f'--sweep must give each run a name of its own, got {twice[0]} twice'
    )
  return [
      run._replace(
          workdir=str(pathlib.Path(run.workdir, name)),
          swept=[f'--{key}={value}' for key, value in point.items()],
      )
      for name, point in zip(names, points)
  ]


def _parse(axis):
  """Returns the key and the values of config.KEY=VALUE,VALUE…"""
  key, _, text = axis.removeprefix('--').partition('=')
  values = _values(text)
  if not (re.fullmatch(r'config(\.\w+)+', key) and all(values)):
    raise ValueError(f'--sweep must be config.KEY=VALUE,VALUE…, got {axis!r}')
  return key, values


def _values(text):
  """Splits at commas; [''] if a bracket or a quote is not closed.

  Those inside belong to a value, as in config.model.mixers=('pla','swa').
  """
  rest, masked = None, text
  while rest != masked:
    rest, masked = masked, _HELD.sub(lambda x: '_' * len(x[0]), masked)
  if re.search(r"""[()[\]{}'"]""", masked):
    return ['']
  values, start = [], 0
  for part in masked.split(','):
    values.append(text[start : start + len(part)])
    start += len(part) + 1
  return values


def _name(point: Mapping[str, str]) -> str:
  """Names a run by its values; other signs than a file name's become _."""
  ends = [key.removesuffix('.name').rpartition('.')[2] for key in point]
  keys = ends if len({*ends}) == len(ends) else point
  parts = [f'{key}={value}' for key, value in zip(keys, point.values())]
  return re.sub(r'[^\w.=+-]+', '_', '+'.join(parts))
