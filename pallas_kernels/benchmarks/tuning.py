"""Finds the fastest tiles whose results are correct.

A candidate differs from the default in one setting. Each is checked before it
is timed, and the winner is finally checked in all modes.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from pallas_kernels.benchmarks import correctness
from pallas_kernels.benchmarks import inputs as inputs_lib
from pallas_kernels.benchmarks import roofline
from pallas_kernels.benchmarks import timing
from pallas_kernels.benchmarks.case import Case
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.benchmarks.case import Waiting
from pallas_kernels.benchmarks.correctness import VALUE_WIDTHS
from pallas_kernels.benchmarks.roofline import Workload
from pallas_kernels.prefix_linear_attention.mosaic_sm90_tiles import Tiles

_REGISTERS = (24, 168, 160), (24, 184, 152), (24, 200, 144)

# The values to try for each field, by the part of the tiles.
CHOICES = {
    'forward': {'registers': _REGISTERS, 'stages': (2, 3)},
    'backward': {
        'dq_registers': _REGISTERS,
        'dkv_registers': _REGISTERS,
        'prefix_chunks': (2, 4, 8),
    },
    'segment_chunks': {'segment_chunks': (4, 8, 16, 32)},
}

# The workload that times a part.
_WORKLOADS = {'forward': 'G6-8k', 'backward': 'G9', 'segment_chunks': 'G7'}


def cases(settings: Settings) -> list[Case]:
  """The candidates for each width and part."""
  return [
      Case(
          f'V{V} {part}: {describe(tiles)}',
          functools.partial(_time, settings, V, part, tiles),
      )
      for V in settings.few(VALUE_WIDTHS)
      for part in CHOICES
      for tiles in settings.few(candidates(part))
  ]


def winners(settings: Settings) -> list[Case]:
  """All checks of the fastest tiles so far, unless they are the default."""
  return [
      Case(
          _check_name(V, mode, direction, tiles),
          functools.partial(
              correctness.check, settings, V, mode, direction, tiles
          ),
      )
      for V in settings.few(VALUE_WIDTHS)
      if (tiles := best(settings, V)) != Tiles()
      for mode, direction in correctness.checks()
  ]


def candidates(part: str) -> list[Tiles]:
  """Tiles that the hardware supports, the default first."""
  result = [Tiles()]
  for field, values in CHOICES[part].items():
    for value in values:
      try:
        tiles = _with(part, field, value)
      except ValueError:
        continue  # too much shared memory, or too many registers
      if tiles not in result:
        result.append(tiles)
  return result


def describe(tiles: Tiles) -> str:
  """Describes the difference of tiles from the default."""
  fields, default = _fields(tiles), _fields(Tiles())
  changes = [
      f'{name}={"-".join(map(str, np.atleast_1d(value)))}'
      for name, value in fields.items()
      if value != default[name]
  ]
  return ' '.join(changes) or 'default'


def best(settings: Settings, V: int) -> Tiles:
  """The fastest tiles of each part so far, or the default."""
  tiles = Tiles()
  for part in CHOICES:
    timed = [
        row
        for row in settings.folder.rows('tuning').values()
        if (row.get('V'), row.get('part')) == (V, part) and 'ms' in row
    ]
    if timed:
      fastest = Tiles.from_entry(min(timed, key=lambda r: r['ms'])['tiles'])
      changed = {part: getattr(fastest, part)}
      tiles = dataclasses.replace(tiles, **changed)
  return tiles


def trusted(settings: Settings, w: Workload) -> Tiles:
  """The best tiles, or the default ones if the best are known to be wrong.

  Args:
    settings: the settings, with the results of checks.
    w: the workload. If it is not split, checks of split sequences do not
      matter, and without gradients checks of gradients do not.

  Raises:
    Waiting: the kernels are wrong or unchecked with the default tiles.
  """
  splits = Tiles().segments(B=w.B, H=w.H, V=w.V, L=w.L) > 1
  checks = [
      (mode, direction)
      for mode, direction in correctness.checks()
      if (splits or not correctness.MODES[mode].split)
      and (w.backward or direction == 'forward')
  ]
  right, wrong = _verdicts(settings, w.V, Tiles(), checks)
  if wrong or not right:
    reason = f'{wrong[0]} is wrong' if wrong else f'V{w.V} was not checked'
    raise Waiting(f'not timed: {reason}')
  tiles = best(settings, w.V)
  _, wrong = _verdicts(settings, w.V, tiles, checks)
  return Tiles() if wrong else tiles


def entries(settings: Settings) -> dict[str, dict[str, Any]]:
  """The entries for the table of the device: tiles correct in all modes."""
  result = {}
  for V in VALUE_WIDTHS:
    for tiles in (Tiles(), best(settings, V)):
      right, _ = _verdicts(settings, V, tiles, correctness.checks())
      if len(right) == len(correctness.checks()):
        result[f'V{V}'] = tiles.entry()
  return result


def _verdicts(settings, V, tiles, checks):
  """The names of passed and failed checks of these tiles."""
  step = 'correctness' if tiles == Tiles() else 'winners'
  rows = settings.folder.rows(step)
  names = [_check_name(V, mode, direction, tiles) for mode, direction in checks]
  right = [name for name in names if name in rows and 'worst' in rows[name]]
  wrong = [name for name in names if 'error' in rows.get(name, {})]
  return [name for name in right if name not in wrong], wrong


def _check_name(V, mode, direction, tiles):
  name = correctness.row_name(V, mode, direction)
  return name if tiles == Tiles() else f'{name}: {describe(tiles)}'


def _with(part, field, value):
  """The default tiles with another value of one field."""
  default = Tiles()
  if hasattr(default, field):
    return dataclasses.replace(default, **{field: value})
  changed = dataclasses.replace(getattr(default, part), **{field: value})
  return dataclasses.replace(default, **{part: changed})


def _time(settings, V, part, tiles):
  """Checks a candidate in the most demanding mode, and times it."""
  mode = 'split' if part == 'segment_chunks' else 'ragged'
  w = settings.workload(_WORKLOADS[part])._replace(V=V)
  direction = correctness.DIRECTIONS[w.backward]
  trusted(settings, w)
  checked = correctness.check(settings, V, mode, direction, tiles)
  row = {'V': V, 'part': part, 'tiles': tiles.entry()}
  if 'error' in checked:
    return row | {'error': checked['error']}
  cost = roofline.prefix_linear_attention(w)
  options = {} if settings.rehearse else {'tiles': tiles}
  return row | timing.measure(
      inputs_lib.operation(
          w, implementation=settings.implementation, **options
      ),
      inputs_lib.prefix_linear_attention(w),
      expected_ms=3 * cost.milliseconds(**roofline.NOMINAL),
  )


def _fields(tiles):
  entry = tiles.entry()
  parts = {part: entry[part] for part in ('forward', 'backward')}
  fields = {
      f'{part}.{name}': value
      for part, values in parts.items()
      for name, value in values.items()
  }
  return fields | {'segment_chunks': tiles.segment_chunks}
