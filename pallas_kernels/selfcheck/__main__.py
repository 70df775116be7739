r"""Decides whether the Hopper kernels may run on the GPU of this machine.

python -m pallas_kernels.selfcheck --value_widths=64,112

A separate process, which may crash or hang, compares the kernels with plain
JAX, forward and backward, and times both; the times do not affect the answer.
If anything is wrong, the answer is chunked, with the reason. The answer is not
stored: after a pass, name the kernels with implementation='mosaic_sm90'.

Exit codes: 0 if the kernels may run for all widths, 1 if not, 2 for a mistake
in the command, 130 after Ctrl-C.
"""

import signal
import sys

from pallas_kernels import command_line
from pallas_kernels.prefix_linear_attention.mosaic_sm90_widths import VALUE_WIDTHS
from pallas_kernels.selfcheck import verdict as verdict_lib


def main(argv: list[str]) -> int:
  """Prints a line for each width; returns the exit code."""
  args = _parse(argv)
  refused = False
  try:
    for verdict in verdict_lib.decide(args.value_widths, limit=args.timeout):
      print(describe(verdict), flush=True)
      refused |= verdict.reason is not None
  except KeyboardInterrupt:
    print('stopped', file=sys.stderr)
    return 130
  return int(refused)


def describe(verdict: verdict_lib.Verdict) -> str:
  """Returns a verdict as one line."""
  start = f'V {verdict.V}: {verdict.implementation}'
  if verdict.reason is not None:
    return f'{start}, because {verdict.reason}'
  checks, ms = verdict.report['checks'].values(), verdict.report['ms']
  worst = max(max(check['errors'].values()) for check in checks)
  times = ', '.join(f'{name} {x:.2g} ms' for name, x in ms.items())
  return f'{start}; largest error {worst:.2g}; with gradients {times}'


def _parse(argv):
  parser = command_line.Parser(
      prog='python -m pallas_kernels.selfcheck',
      description=__doc__,
      renamed={'--V': '--value_widths', '--limit': '--timeout'},
  )
  parser.add_argument(
      '--value_widths',
      type=command_line.several(int, VALUE_WIDTHS),
      default=VALUE_WIDTHS,
      help='widths of values; default: all',
  )
  parser.add_argument(
      '--timeout',
      type=float,
      default=verdict_lib.LIMIT,
      help='seconds that each width may take; default: %(default)g',
  )
  args = parser.parse(argv)
  if not 0 < args.timeout <= 3600:
    parser.error(
        f'--timeout must be above 0 and at most 3600, got {args.timeout:g}'
    )
  return args


if __name__ == '__main__':
  # As an exception, which also ends the checking process.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  sys.exit(main(sys.argv[1:]))
