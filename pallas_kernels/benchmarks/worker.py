"""A process that measures rows; `supervisor` starts it again when it dies.

A kernel that fails can leave the device unusable, and one that hangs cannot be
stopped from within. So rows are measured here and stored elsewhere: each row is
printed to the standard output, as a line of JSON. All other output goes to the
standard error.
"""

import argparse
import json
import os
import pathlib
import sys
import time
import traceback
from typing import Any

from pallas_kernels.benchmarks import case as case_lib
from pallas_kernels.benchmarks import machine
from pallas_kernels.benchmarks import steps
from pallas_kernels.benchmarks.case import Case
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.benchmarks.results import Folder


def main(argv: list[str]) -> None:
  """Measures the named rows of a step, one after another."""
  parser = argparse.ArgumentParser()
  parser.add_argument('step')
  parser.add_argument('names', nargs='*')
  parser.add_argument('--out', type=pathlib.Path)
  parser.add_argument('--until', type=float)
  parser.add_argument('--rehearse', action='store_true')
  args = parser.parse_args(argv)
  with os.fdopen(os.dup(1), 'w') as output:
    os.dup2(2, 1)

    def tell(**message):
      print(json.dumps(message), file=output, flush=True)

    if args.step == 'machine':
      found = machine.describe()
      tell(row=found | {'name': args.step, 'unfit': machine.unfit(found)})
      return
    settings = Settings(Folder(args.out), args.rehearse)
    cases = {case.name: case for case in steps.STEPS[args.step].cases(settings)}
    for name in args.names:
      if time.time() > args.until:
        return
      tell(begin=name)
      row, usable = compute(cases[name])
      tell(row=row)
      if not usable:
        return


def compute(case: Case) -> tuple[dict[str, Any], bool]:
  """Returns the row of a case, and whether the process can continue."""
  start = time.monotonic()
  usable = True
  try:
    row = dict(case.run())
  except (case_lib.Missing, ImportError) as error:
    row = {'skipped': _first_line(error)}
  except case_lib.Waiting as error:
    row = {'waits': _first_line(error)}
  except Exception as error:  # any error: other rows may succeed
    traceback.print_exc()
    usable = isinstance(error, ValueError)
    row = {'error': _first_line(error)}
  seconds = round(time.monotonic() - start, 1)
  return {'name': case.name} | row | {'seconds': seconds}, usable


def _first_line(error):
  lines = str(error).strip().splitlines() or ['no reason given']
  return f'{type(error).__name__}: {lines[0][:300]}'


if __name__ == '__main__':
  main(sys.argv[1:])
