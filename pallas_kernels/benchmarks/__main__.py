r"""Checks, tunes and times the kernels on the GPU of this machine.

python -m pallas_kernels.benchmarks --out=DIR --time_budget=540

Steps: correctness of every kernel, the highest speed and bandwidth of the
device (ceilings), tuning, goals, and other libraries (peers) as far as the
budget allows. Results are written at once, and the same command continues where
it stopped. A kernel with wrong results is not timed. DIR gets a file for each
step, results.json with all of them, and log.txt. It needs a Hopper GPU;
pallas_kernels.benchmarks.prefix_linear_attention times any device.

Exit codes: 0 at the end, 1 if a row failed, 2 for a mistake in the command or
without a Hopper GPU, 130 after Ctrl-C.
"""

import datetime
import functools
import json
import pathlib
import shlex
import signal
import sys
import time
from typing import Any

from pallas_kernels import command_line
from pallas_kernels.benchmarks import publish
from pallas_kernels.benchmarks import supervisor
from pallas_kernels.benchmarks import table
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.benchmarks.results import Folder
from pallas_kernels.benchmarks.steps import STEPS

_NAME = 'python -m pallas_kernels.benchmarks'


def main(argv: list[str]) -> int:
  """Returns the exit code."""
  args = _parse(argv)
  try:
    if args.table:
      print(table.markdown(json.loads(args.table.read_text())))
      return 0
    settings = Settings(Folder(args.out), args.rehearse)
    if args.list:
      _list(settings)
      return 0
    if args.publish:
      print('\n'.join(f'wrote {path}' for path in publish.publish(settings)))
      return 0
    return _measure(settings, args.time_budget, argv)
  except (OSError, ValueError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print('stopped; the same command continues', file=sys.stderr)
    return 130


def _measure(settings, budget, argv):
  start = time.time()
  settings.folder.path.mkdir(parents=True, exist_ok=True)
  machine = dict(supervisor.ask(settings))
  reason = machine.pop('unfit')
  if reason and not settings.rehearse:
    raise ValueError(
        f'{reason}: this command needs a Hopper GPU; python -m'
        ' pallas_kernels.benchmarks.prefix_linear_attention times any device'
    )
  settings.folder.begin(_about(settings, machine, argv))
  try:
    _run(settings, start, budget)
  finally:
    settings.folder.finish()
  return _summary(settings)


def _run(settings, start, budget):
  """Runs all steps, and again for rows for which no time was left."""
  end, skipped = start + budget, set()

  def report(name, row):
    if 'skipped' in row:
      skipped.add((name, row['name']))
    spent = f'{time.time() - start:4.0f} of {budget:.0f} s'
    print(f'[{spent}] {name}: {row["name"]}: {_found(row)}', flush=True)

  for shared in (True, False):
    for name, step in STEPS.items():
      cases = step.cases(settings)
      supervisor.run(
          settings,
          name,
          [case for case in cases if (name, case.name) not in skipped],
          until=start + budget * step.until if shared else end,
          end=end,
          report=functools.partial(report, name),
      )
      settings.folder.finish()


def _about(settings, machine, argv):
  return machine | {
      'command': shlex.join([*_NAME.split(), *argv]),
      'date': datetime.date.today().isoformat(),
      'rehearsal': settings.rehearse,
  }


def _found(row: dict[str, Any]) -> str:
  """Returns the result of a row in a few words."""
  for key, text in (
      ('error', 'FAILED: {}'),
      ('skipped', 'skipped: {}'),
      ('waits', 'not yet: {}'),
      ('per_second', '{:.3g} a second'),
      ('ms', '{:.4g} ms'),
      ('worst', 'error {:.1e}'),
  ):
    if key in row:
      return text.format(row[key])
  return 'done'


def _summary(settings):
  """Prints the results and the rows that are left; returns the exit code."""
  print(table.markdown(settings.folder.read()))
  for name, step in STEPS.items():
    left = supervisor.remaining(settings, name, step.cases(settings))
    if left:
      print(f'\n{name}: {len(left)} rows are left, {left[0].name!r} first')
  failed = [
      f'{name}: {row["name"]}: {row["error"]}'
      for name in STEPS
      for row in settings.folder.rows(name).values()
      if 'error' in row
  ]
  if failed:
    print('\n'.join(['\nFailed:', *failed]))
  return 1 if failed else 0


def _list(settings):
  for name, step in STEPS.items():
    cases = step.cases(settings)
    print(f'{name}: {len(cases)} rows')
    print('\n'.join(f'  {case.name}' for case in cases))


def _parse(argv):
  parser = command_line.Parser(
      prog=_NAME, description=__doc__, renamed={'--budget': '--time_budget'}
  )
  parser.add_argument(
      '--out', type=pathlib.Path, help='a folder for the results'
  )
  parser.add_argument(
      '--time_budget',
      type=float,
      default=540.0,
      help='seconds after which no row is started; default: 540',
  )
  parser.add_argument(
      '--list', action='store_true', help='show the rows, and measure nothing'
  )
  parser.add_argument(
      '--rehearse',
      action='store_true',
      help='run all steps on the CPU with tiny shapes, without the kernels',
  )
  parser.add_argument(
      '--publish',
      action='store_true',
      help='measure nothing; copy what is in --out to the results of this'
      ' package, and tiles into the table of their device',
  )
  parser.add_argument(
      '--table',
      type=pathlib.Path,
      metavar='RESULTS.json',
      help='print results as Markdown and measure nothing',
  )
  args = parser.parse(argv)
  if not args.out and not args.table and not args.list:
    parser.error('--out=DIR must be given')
  args.out = args.out or pathlib.Path('.')
  return args


if __name__ == '__main__':
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends workers too
  sys.exit(main(sys.argv[1:]))
