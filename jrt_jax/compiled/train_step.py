"""The work of a compiled train step by kind, and a lower bound of its time.

This is a prediction from the text of the program, which no GPU has confirmed.
It does not model exchanges between devices, waiting for the host, and caches.
Of the kernels of attention and linear attention it counts only the bytes.
"""

import collections
from collections.abc import Iterable, Mapping
import re
from typing import Any, NamedTuple

from jrt_jax.compiled import collectives
from jrt_jax.compiled import hlo
from jrt_jax.compiled.traffic import Operation


class Rates(NamedTuple):
  """The highest rates that a GPU is assumed to reach."""

  flops: float  # a second, in large products of bfloat16 matrices
  bandwidth: float  # bytes/s of memory, read and written


# Assumed, not measured: 0.66 and 0.73 of the peak in NVIDIA's data sheets, as
# the power limit lowers the clock, and 0.9 of the bandwidth given there.
RATES = {'H100': Rates(650e12, 3.0e12), 'H200': Rates(720e12, 4.2e12)}
LAUNCH = 2e-6  # shortest time of a kernel in seconds; assumed as well

KINDS = (
    *('GEMM', 'fusions', 'loss', 'linear attention', 'attention (cuDNN)'),
    *('optimizer', 'collectives'),
)
# Prefixes of the targets of custom calls: cuDNN attention, Pallas kernels.
_CUDNN, _PALLAS = '__cudnn$fmha', 'mosaic_gpu'
# The kind of work by a file in the stack of the instruction.
_KINDS_BY_FILE = {
    '/pallas_kernels/prefix_linear_attention/': 'linear attention',
    '/jrt_jax/training/loss.py': 'loss',
    '/jrt_jax/training/optimizer.py': 'optimizer',
    '/optax/': 'optimizer',
}
_PACKAGES = 'jrt_jax', 'pallas_kernels'
_LINES = 10  # of the fusions and copies that move the most bytes


def by_kind(
    program: hlo.Program, operations: Iterable[Operation], rates: Rates
) -> dict[str, dict[str, float]]:
  """Returns bytes, FLOPs, kernels and seconds of a step on a device, by kind.

  The time of a kernel is that of its products or that of its bytes, whichever
  is longer.

  Args:
    operations: its operations, from `traffic.operations`.
  """
  sums = collections.defaultdict(collections.Counter)
  for x in operations:
    bound = max(x.flops / rates.flops, (x.read + x.written) / rates.bandwidth)
    sums[_kind(program, x)].update(
        bytes=x.num_bytes,
        flops=x.count * x.flops,
        kernels=x.count,
        seconds=x.count * max(bound, LAUNCH),
    )
  return {kind: dict(sums[kind]) for kind in KINDS if kind in sums}


def seconds(kinds: Mapping[str, Mapping[str, float]]) -> float:
  """Returns a lower bound of the time of a step, from `by_kind`."""
  return sum(
      own['seconds'] for kind, own in kinds.items() if kind != 'collectives'
  )


def most_moved(
    program: hlo.Program, operations: Iterable[Operation]
) -> list[dict[str, Any]]:
  """Returns the fusions and copies that move the most bytes.

  Those from the same line of source are summed, since layers repeat.
  """
  groups = collections.defaultdict(list)
  for x in operations:
    instruction = x.instruction
    if x.flops or instruction.target or _kind_of_instruction(instruction):
      continue
    name = source(program, instruction), _operation(instruction)
    groups[name].append(x)
  largest = sorted(
      groups.items(), key=lambda item: -sum(x.num_bytes for x in item[1])
  )
  return [
      {
          'source': place,
          'operation': operation,
          'kernels': sum(x.count for x in group),
          'read': sum(x.count * x.read for x in group),
          'written': sum(x.count * x.written for x in group),
      }
      for (place, operation), group in largest[:_LINES]
  ]


def kernels(operations: Iterable[Operation]) -> dict[str, int]:
  """Returns how often a step launches each kernel that is not from XLA.

  Kernels of Pallas have the names of their functions, others of their targets.
  """
  counts = collections.Counter()
  for x in operations:
    if target := x.instruction.target:
      is_pallas = target.startswith(_PALLAS)
      name = x.instruction.op_name.split('/')[-2] if is_pallas else target
      counts[name] += x.count
  return dict(sorted(counts.items()))


def source(program: hlo.Program, instruction: hlo.Instruction) -> str:
  """Returns file:line of the innermost call in this project; '' if unknown."""
  for frame in program.stack(instruction):
    for package in _PACKAGES:
      _, found, path = frame.file.rpartition(f'/{package}/')
      if found:
        return f'{package}/{path}:{frame.line}'
  return ''


def _kind(program, x):
  if kind := _kind_of_instruction(x.instruction):
    return kind
  files = [frame.file for frame in program.stack(x.instruction)]
  for part, kind in _KINDS_BY_FILE.items():
    if any(part in file for file in files):
      return kind
  return 'GEMM' if x.flops else 'fusions'


def _kind_of_instruction(x):
  if collectives.kind_of(x):
    return 'collectives'
  is_cudnn = (x.target or '').startswith(_CUDNN)
  return 'attention (cuDNN)' if is_cudnn else None


def _operation(instruction):
  """The name in jax of the last fused operation, or the name that XLA gave."""
  if not instruction.op_name:
    return re.sub(r'[.\d]+$', '', instruction.name)
  name = instruction.op_name.rpartition('/')[2]
  return f'{name} (backward)' if 'transpose(' in instruction.op_name else name
