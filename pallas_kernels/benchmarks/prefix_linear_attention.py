r"""Time and memory of prefix linear attention against the length.

python -m pallas_kernels.benchmarks.prefix_linear_attention \
  --lengths 2048 4096 8192 16384 32768 --json results.json

One row of tokens, half of them prefix. Memory is what the compiled program
reserves beside its arguments and results; it is the same in every run. Time is
the least of several rounds, each over all lengths. On a CPU it is processor
time of one thread, which other jobs on the machine disturb least: the program
starts itself anew to get one. Elsewhere it is wall time until results are ready.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import sys
import time

import jax
import numpy as np

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels.benchmarks.shapes import SHAPES

LENGTHS = 2048, 4096, 8192, 16384, 32768

_ONE_THREAD = '--xla_cpu_multi_thread_eigen=false'


def main(argv: list[str] | None = None) -> None:
  """Measures, prints a table and writes it as JSON if asked to."""
  args = _parse(argv)
  shape = SHAPES[args.shape]._replace(H=args.heads)
  about = {
      'command': f'python -m {_module()} {" ".join(argv or sys.argv[1:])}',
      'date': datetime.date.today().isoformat(),
      'hardware': _hardware(),
      'jax': jax.__version__,
      'python': platform.python_version(),
      'shape': {'B': 1, **shape._asdict(), 'P': 'L / 2', 'dtype': args.dtype},
  }
  cells = [
      _Cell(implementation, direction, length, shape, args.dtype)
      for implementation in args.implementations
      for direction in _DIRECTIONS
      for length in args.lengths
  ]
  timed = [
      cell
      for cell in cells
      if cell.implementation != 'reference'
      or cell.length <= args.reference_length
  ]
  for _ in range(args.rounds):
    for cell in timed:
      cell.time()
  result = about | {
      'rows': [cell.row() for cell in cells],
      'exponents': _exponents(timed),
  }
  _print(result)
  if args.json:
    args.json.write_text(json.dumps(result, indent=2) + '\n')


def exponent(lengths: list[int], times: list[float]) -> float:
  """The e of the power law time = c · length^e that fits best."""
  return float(np.polyfit(np.log(lengths), np.log(times), 1)[0])


class _Cell:
  """One program: an implementation, a direction and a length."""

  def __init__(self, implementation, direction, length, shape, dtype):
    self.implementation = implementation
    self.direction = direction
    self.length = length
    self.heads = shape.H
    self.seconds = []
    inputs = testing.make_inputs(
        B=1, L=length, P=length // 2, dtype=dtype, **shape._asdict()
    )
    del inputs['initial_state']
    self.inputs = jax.device_put(inputs)
    function = _DIRECTIONS[direction](implementation)
    self.program = jax.jit(function).lower(self.inputs).compile()

  def time(self):
    on_cpu = jax.default_backend() == 'cpu'
    clock = time.process_time if on_cpu else time.perf_counter
    jax.block_until_ready(self.program(self.inputs))  # caches are warm
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
        'temporary_mb': temporary / 1e6,
        'bytes_per_token_and_head': temporary / self.length / self.heads,
    }


def _forward(implementation):
  return lambda inputs: pallas_kernels.prefix_linear_attention(
      **inputs, implementation=implementation
  )


def _forward_backward(implementation):
  def function(inputs):
    floats = {n: x for n, x in inputs.items() if n != 'prefix_len'}
    y, vjp = jax.vjp(
        lambda x: _forward(implementation)(inputs | x), floats
    )
    return y, vjp(inputs['v'])  # a cotangent like any other

  return function


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


def _print(result):
  shape = ', '.join(f'{k}={v}' for k, v in result['shape'].items())
  print(f'prefix linear attention, {shape}')
  print(f'{result["hardware"]}, jax {result["jax"]}, {result["date"]}\n')
  line = '{:14}  {:16}  {:>7}  {:>9}  {:>12}  {:>14}'
  print(line.format(*result['rows'][0]).replace('_', ' ')[:-8])
