r"""Decides whether the Hopper kernels may run on the GPU of this machine.

python -m pallas_kernels.selfcheck --V 64 112

Another process, which may crash or hang, compares the kernels with plain JAX,
forward and backward, and times both: time is shown, and decides nothing. What
is wrong in any way means chunked, with the reason. Nothing is kept: after a
yes, the kernels run where implementation='mosaic_sm90' names them.

Exit codes: 0 if the kernels may run for all widths, 1 if not, 2 for a mistake
in the command, 130 after Ctrl-C.
"""

import argparse
import signal
import sys

from pallas_kernels.prefix_linear_attention.mosaic_sm90_widths import VALUE_WIDTHS
from pallas_kernels.selfcheck import verdict as verdict_lib


def main(argv: list[str]) -> int:
  """Prints a line for each width; returns the exit code."""
  args = _parse(argv)
  refused = False
  try:
    for verdict in verdict_lib.decide(args.V, limit=args.limit):
      print(describe(verdict), flush=True)
      refused |= verdict.reason is not None
  except KeyboardInterrupt:
    print('stopped', file=sys.stderr)
    return 130
  return int(refused)


def describe(verdict: verdict_lib.Verdict) -> str:
  """A verdict in one line."""
  start = f'V {verdict.V}: {verdict.implementation}'
  if verdict.reason is not None:
    return f'{start}, because {verdict.reason}'
  checks, ms = verdict.report['checks'].values(), verdict.report['ms']
  worst = max(max(check['errors'].values()) for check in checks)
  times = ', '.join(f'{name} {x:.2g} ms' for name, x in ms.items())
  return f'{start}; largest error {worst:.2g}; with gradients {times}'


class _Parser(argparse.ArgumentParser):

  def error(self, message):
    self.exit(2, f'error: {message}\n')


def _parse(argv):
  parser = _Parser(
      prog='python -m pallas_kernels.selfcheck',
      description=__doc__,
      formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
      '--V',
      type=int,
      nargs='+',
      choices=VALUE_WIDTHS,
      default=VALUE_WIDTHS,
      help='widths of values; default: all',
  )
  parser.add_argument(
      '--limit',
      type=float,
      default=verdict_lib.LIMIT,
      help='seconds that each width may take; default: %(default)g',
  )
  args = parser.parse_args(argv)
  if not 0 < args.limit <= 3600:
    parser.error(
        f'--limit must be above 0 and at most 3600, got {args.limit:g}'
    )
  return args


if __name__ == '__main__':
  # As an exception, which ends the process that is asked too.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  sys.exit(main(sys.argv[1:]))
