"""Time and memory of an operation against the length of a row.

Memory is what the compiled program reserves besides its arguments and results;
it is the same in every run. Time is the minimum of several rounds, each over all
lengths. On a CPU it is the processor time of one thread, which other jobs
disturb least; the program restarts itself with a single thread. Elsewhere it is
wall time until all results are ready.
"""

from collections.abc import Callable, Mapping
import datetime
import json
import os
import pathlib
import platform
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from pallas_kernels import command_line
from pallas_kernels import testing

LENGTHS = 2048, 4096, 8192, 16384, 32768
_ONE_THREAD = '--xla_cpu_multi_thread_eigen=false'


class Operation(NamedTuple):
  """What is measured.

  Attributes:
    name: as people write it.
    module: of the command.
    description: what its --help says.
    shape: the sizes beside the length and the heads, for the results.
    implementations: functions of arrays by name, each a row of the table.
    default: those that are measured unless the user names others.
    make_inputs: arrays by name, for an implementation, a length, a number of
      heads and a dtype; the result has the shape of `v`.
    quadratic: implementations that are not timed at large lengths.
    renamed: flags by their old names.
  """

  name: str
  module: str
  description: str
  shape: Mapping[str, Any]
  implementations: Mapping[str, Callable[..., jax.Array]]
  default: tuple[str, ...]
  make_inputs: Callable[[str, int, int, str], dict[str, Any]]
  quadratic: tuple[str, ...] = ()
  renamed: Mapping[str, str] = {}


def run(operation: Operation, argv: list[str]) -> None:
  """Measures, prints a table and writes it as JSON if asked to."""
  args = _parse(operation, argv)
  cells = [
      _Cell(operation, implementation, direction, length, args)
      for implementation in args.implementations
      for direction in _DIRECTIONS
      for length in args.lengths
  ]
  timed = [
      cell
      for cell in cells
      if cell.implementation not in operation.quadratic
      or cell.length <= args.quadratic_up_to
  ]
  for _ in range(args.rounds):
    for cell in timed:
      cell.time()
  result = {
      'command': ' '.join(['python -m', operation.module, *argv]),
      'date': datetime.date.today().isoformat(),
      'hardware': _hardware(),
      'jax': jax.__version__,
      'python': platform.python_version(),
      'shape': {'B': 1, 'H': args.heads}
      | dict(operation.shape)
      | {'dtype': args.dtype},
      'rows': [cell.row() for cell in cells],
      'exponents': _exponents(timed),
  }
  _print(operation.name, result)
  if args.out:
    args.out.write_text(json.dumps(result, indent=2) + '\n')


def exponent(lengths: list[int], times: list[float]) -> float:
  """The e of the power law time = c · length^e that fits best."""
  return float(np.polyfit(np.log(lengths), np.log(times), 1)[0])


class _Cell:
  """One compiled program: an implementation, a direction and a length."""

  def __init__(self, operation, implementation, direction, length, args):
    self.implementation = implementation
    self.direction = direction
    self.length = length
    self.heads = args.heads
    self.seconds = []
    inputs = operation.make_inputs(
        implementation, length, args.heads, args.dtype
    )
    self.inputs = jax.device_put(inputs)
    function = _DIRECTIONS[direction](operation.implementations[implementation])
    self.program = jax.jit(function).lower(self.inputs).compile()

  def time(self):
    on_cpu = jax.default_backend() == 'cpu'
    clock = time.process_time if on_cpu else time.perf_counter
    jax.block_until_ready(self.program(self.inputs))  # warms caches
    start = clock()
    jax.block_until_ready(self.program(self.inputs))
    self.seconds.append(clock() - start)

  def row(self):
    temporary = self.program.memory_analysis().temp_size_in_bytes
    return {
        'implementation': self.implementation,
        'direction': self.direction,
        'length': self.length,
        'ms': 1e3 * min(self.seconds) if self.seconds else None,
        'temporary_bytes': temporary,
        'temporary_bytes_per_token_and_head': temporary
        / (self.length * self.heads),
    }


def _forward(function):
  return lambda inputs: function(**inputs)


def _forward_backward(function):
  def both(inputs):
    floats = {n: x for n, x in inputs.items() if x.dtype != np.int32}
    forward = lambda floats: function(**(inputs | floats))
    y, vjp = jax.vjp(forward, floats)
    return y, vjp(inputs['v'])  # a cotangent like any other

  return both


_DIRECTIONS = {'forward': _forward, 'forward+backward': _forward_backward}


def _exponents(cells):
  times = {}
  for cell in cells:
    name = f'{cell.implementation} {cell.direction}'
    times.setdefault(name, {})[cell.length] = min(cell.seconds)
  return {
      name: exponent(list(by_length), list(by_length.values()))
      for name, by_length in times.items()
      if len(by_length) > 1
  }


def _hardware():
  if jax.default_backend() == 'cpu':
    return f'{os.cpu_count()}-core CPU, one thread'
  return jax.devices()[0].device_kind


def _print(name, result):
  shape = ', '.join(f'{name}={n}' for name, n in result['shape'].items())
  print(f'{name}, {shape}')
  print(f'{result["hardware"]}, jax {result["jax"]}, {result["date"]}\n')
  line = '{:14} {:16} {:>6} {:>10} {:>10} {:>13}'.format
  print(line('', '', 'length', 'ms', 'MB', 'B/token/head'))
  for row in result['rows']:
    implementation, direction, length, ms, temporary, each = row.values()
    ms = '-' if ms is None else f'{ms:.1f}'
    sizes = f'{temporary / 1e6:.1f}', f'{each:.0f}'
    print(line(implementation, direction, length, ms, *sizes))
  print()
  for name, value in result['exponents'].items():
    print(f'{name}: time grows as length^{value:.3f}')


def _parse(operation, argv):
  parser = command_line.Parser(
      prog=f'python -m {operation.module}',
      description=operation.description,
      renamed=operation.renamed,
  )
  parser.add_argument(
      '--lengths',
      type=command_line.several(int),
      default=LENGTHS,
      help=f'tokens; default: {",".join(map(str, LENGTHS))}',
  )
  parser.add_argument(
      '--heads',
      type=int,
      default=2,
      help='each takes as much as any other; default: 2',
  )
  parser.add_argument(
      '--dtype',
      choices=testing.TOLERANCE,
      default='float32',
      help='of the inputs; default: float32',
  )
  parser.add_argument(
      '--implementations',
      type=command_line.several(str, operation.implementations),
      default=operation.default,
      help=f'of {", ".join(operation.implementations)}, separated by commas',
  )
  if operation.quadratic:
    parser.add_argument(
        '--quadratic_up_to',
        type=int,
        default=4096,
        help=f'length up to which {operation.quadratic[0]} is timed;'
        ' default: 4096',
    )
  parser.add_argument(
      '--rounds',
      type=int,
      default=9,
      help='how often each length is timed; the fastest counts; default: 9',
  )
  parser.add_argument('--out', type=pathlib.Path, help='write results here')
  return parser.parse(argv)


def start_in_one_thread(module: str, argv: list[str]) -> None:
  """Restarts: these settings must be set before anything is imported."""
  flags = os.environ.get('XLA_FLAGS', '')
  if _ONE_THREAD in flags:
    return
  if hasattr(os, 'sched_setaffinity'):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
  # Freed memory is kept: asking the system for it again takes a tenth of the
  # time of long lengths, but nothing of that of short ones.
  os.environ |= {
      'XLA_FLAGS': f'{flags} {_ONE_THREAD}',
      'MALLOC_ARENA_MAX': '1',
      'MALLOC_MMAP_THRESHOLD_': str(2**40),
      'MALLOC_TRIM_THRESHOLD_': str(2**40),
      'MALLOC_TOP_PAD_': str(2**28),
  }
  os.execv(sys.executable, [sys.executable, '-m', module, *argv])
