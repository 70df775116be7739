r"""Time and memory of prefix linear attention against the length.

python -m pallas_kernels.benchmarks.prefix_linear_attention \
  --lengths=2048,4096,8192,16384,32768 --out=results.json

It times one row of tokens, half of them prefix. Memory is what the compiled
program reserves besides its arguments and results; it is the same in every run.
Time is the minimum of several rounds, each over all lengths. On a CPU it is the
processor time of one thread, which other jobs disturb least; the program
restarts itself with a single thread. Elsewhere it is wall time until all
results are ready.
"""

import functools
import sys

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels.benchmarks import lengths
from pallas_kernels.prefix_linear_attention import api

_WIDTHS = {'D': 16, 'V': 64}  # of a head of JRT-RNN 360M, Arora et al. 2024
_MODULE = 'pallas_kernels.benchmarks.prefix_linear_attention'


def main(argv: list[str]) -> None:
  """Measures, prints a table and writes it as JSON if asked to."""
  operation = lengths.Operation(
      name='prefix linear attention',
      module=_MODULE,
      description=__doc__,
      shape={**_WIDTHS, 'P': 'L/2'},
      implementations={
          name: functools.partial(
              pallas_kernels.prefix_linear_attention, implementation=name
          )
          for name in api.IMPLEMENTATIONS
      },
      default=('chunked', 'reference'),
      make_inputs=_make_inputs,
      quadratic=('reference',),
      renamed={'--json': '--out', '--quadratic-up-to': '--quadratic_up_to'},
  )
  lengths.run(operation, argv)


def _make_inputs(implementation, length, heads, dtype):
  del implementation
  inputs = testing.make_inputs(
      B=1, L=length, P=length // 2, H=heads, dtype=dtype, **_WIDTHS
  )
  del inputs['initial_state']
  return inputs


if __name__ == '__main__':
  lengths.start_in_one_thread(_MODULE, sys.argv[1:])
  main(sys.argv[1:])
