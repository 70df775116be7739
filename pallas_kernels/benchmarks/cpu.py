"""A measurement without a GPU: how time grows with the length."""

import functools
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from pallas_kernels.benchmarks import goals
from pallas_kernels.benchmarks import roofline
from pallas_kernels.benchmarks.case import Case
from pallas_kernels.benchmarks.case import Settings

_MODULE = 'pallas_kernels.benchmarks.prefix_linear_attention'


def cases(settings: Settings) -> list[Case]:
  """One case, which is a separate program that starts itself in one thread."""
  run = functools.partial(measure, settings)
  return [Case('G23', run, process='cpu', limit=1800.0)]


def measure(settings: Settings) -> dict[str, Any]:
  """Returns a row with 'rows' for all lengths, with time and memory."""
  lengths = (64, 128) if settings.rehearse else goals.CPU_LENGTHS
  flags = [f'--lengths={",".join(map(str, lengths))}']
  if settings.rehearse:
    flags += ['--quadratic_up_to', '64', '--rounds', '1']
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'results.json')
    command = [sys.executable, '-m', _MODULE, *flags]
    subprocess.run([*command, '--out', path], stdout=sys.stderr, check=True)
    measured = json.loads(path.read_text())
  rows = [_row(measured['shape'], row) for row in measured['rows']]
  return {
      'command': ' '.join(['python', *command[1:]]),
      'hardware': measured['hardware'],
      'rows': rows,
  }


def _row(shape, row):
  row = dict(row)
  direction, L, ms = row.pop('direction'), row.pop('length'), row.pop('ms')
  w = roofline.Workload(
      *(shape['B'], shape['H'], L, L // 2, shape['V']),
      backward=direction != 'forward',
  )
  name = {'workload': f'cpu {direction} {L}', 'shape': w._asdict()}
  return name | row | ({} if ms is None else {'ms': ms})
