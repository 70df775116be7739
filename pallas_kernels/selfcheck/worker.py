"""The process that runs the kernels; it may crash, hang or report nonsense.

It prints one line of JSON to the standard output. All other output goes to the
standard error.
"""

import argparse
import json
import os
import signal
import sys
import traceback
from typing import Any

from pallas_kernels.benchmarks import machine
from pallas_kernels.selfcheck import checks


def main(argv: list[str]) -> None:
  """Answers one question."""
  parser = argparse.ArgumentParser()
  parser.add_argument('question', choices=('about', 'check'))
  parser.add_argument('--V', type=int)
  parser.add_argument('--limit', type=float, required=True)
  args = parser.parse_args(argv)
  # If the asking process is gone, the system ends this one, even if it hangs.
  signal.alarm(int(args.limit) + 10)
  with os.fdopen(os.dup(1), 'w') as output:
    os.dup2(2, 1)
    print(json.dumps(_answer(args)), file=output)


def about() -> dict[str, Any]:
  """Describes the device that is checked."""
  found = machine.describe()
  names = 'device', 'platform', 'compute_capability'
  return {name: found[name] for name in names}


def _answer(args):
  try:
    if args.question == 'about':
      return about()
    return checks.run(args.V) | {'about': about()}
  except Exception as error:  # any error: the kernels must not run
    traceback.print_exc()
    reason = (str(error).strip().splitlines() or ['no reason given'])[0]
    return {'failed': f'{type(error).__name__}: {reason}'}


if __name__ == '__main__':
  main(sys.argv[1:])
