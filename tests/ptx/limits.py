"""CUDA's limits for launches and tensor maps on a Hopper GPU.

Sources: CUDA driver API, `cuTensorMapEncodeTiled`; CUDA programming guide,
technical specifications of compute capability 9.0.
"""

import math

from ptx.errors import Violation
from ptx.host import Launch
from ptx.host import TensorMap

GRID = 2**31 - 1, 65_535, 65_535
THREADS = 1024  # of a block
SHARED_MEMORY = 227 * 1024  # bytes of a block
REGISTERS = 65_536  # of a multiprocessor; threads get multiples of 8
_SWIZZLES = 16, 32, 64, 128  # bytes; 16 is none


def check(launch: Launch, registers: int) -> None:
  """Raises Violation if CUDA would refuse the launch or a tensor map.

  Args:
    registers: the registers of a thread at the start.
  """
  _check_launch(launch, registers)
  for tensor_map in launch.tensor_maps:
    _check_tensor_map(tensor_map)


def _check_launch(launch, registers):
  threads = math.prod(launch.threads)
  for axis, size, most in zip('xyz', launch.grid, GRID):
    if not 1 <= size <= most:
      raise Violation(f'grid.{axis} must be from 1 to {most}, is {size}')
  if threads > THREADS or threads % 128:
    raise Violation(
        f'threads must be whole warpgroups of 128, {THREADS} at most, are'
        f' {threads}'
    )
  if launch.shared_memory > SHARED_MEMORY:
    raise Violation(
        f'shared memory must be at most {SHARED_MEMORY} bytes, is'
        f' {launch.shared_memory}'
    )
  if (taken := -(-registers // 8) * 8 * threads) > REGISTERS:
    raise Violation(
        f'registers of a block must be at most {REGISTERS}, are {taken}'
    )


def _check_tensor_map(x: TensorMap):
  strides = [stride * x.element for stride in x.strides]
  row = x.box[-1] * x.element
  rules = {
      'must have from 1 to 5 dimensions': 1 <= len(x.sizes) <= 5,
      'must have sizes from 1 to 2^32': all(
          1 <= size <= 2**32 for size in x.sizes
      ),
      'must be contiguous in its last dimension': x.strides[-1] == 1,
      'must have strides of multiples of 16 bytes, less than 2^40': all(
          stride % 16 == 0 and 0 <= stride < 2**40 for stride in strides[:-1]
      ),
      'must have boxes from 1 to 256 in each dimension': all(
          1 <= size <= 256 for size in x.box
      ),
      'must have boxes with rows of multiples of 16 bytes': row % 16 == 0,
      f'must have a swizzle of {_SWIZZLES} bytes': x.swizzle in _SWIZZLES,
      'must have boxes with rows that fit in the swizzle': (
          x.swizzle == 16 or row <= x.swizzle
      ),
      'must have boxes that fit in shared memory': (
          math.prod(x.box) * x.element <= SHARED_MEMORY
      ),
  }
  for rule, is_kept in rules.items():
    if not is_kept:
      raise Violation(f'a tensor map {rule}, is {x}')
