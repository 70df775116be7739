"""Where the descriptors of wgmma find matrices in shared memory.

Source: PTX ISA, "Matrix Descriptor Format" and "Canonical Layouts".
"""

import functools

import numpy as np

from pallas_kernels.ptx.errors import Violation
from pallas_kernels.ptx.memory import SHARED
from pallas_kernels.ptx.memory import swizzle

K = 16  # of a product, elements of 2 bytes
_SWIZZLE_WIDTHS = {0: 0, 1: 128, 2: 64, 3: 32}
# Of a matrix descriptor: start, leading and stride offset, base offset, swizzle.
_FIELDS = 0x3FFF | 0x3FFF << 16 | 0x3FFF << 32 | 7 << 49 | 3 << 62


@functools.lru_cache(1024)
def addresses(descriptor: int, rows: int, transposed: bool) -> np.ndarray:
  """The addresses [rows, 16] at which the elements of an operand begin.

  Elements lie in cores of 8 rows of 16 bytes without a swizzle, and otherwise in
  cores of 8 rows of as many bytes as the swizzle is wide. A row has neighbours
  in K, and in M or N if the operand is transposed.

  Args:
    descriptor: 64 bits.
    rows: of the operand, its size in M or N.
    transposed: whether M or N is contiguous.

  Raises:
    Violation: a field has what the hardware or this model does not take.
  """
  field = lambda bit: (descriptor >> bit & 0x3FFF) << 4
  start, leading, stride = field(0), field(16), field(32)
  width = _SWIZZLE_WIDTHS[descriptor >> 62]
  if descriptor & ~_FIELDS:
    raise Violation(f'{descriptor:#x} has bits that no field of it has')
  if descriptor >> 49 & 7:
    raise Violation('a base offset is not modelled')
  if width and start % (8 * width) >= width:
    raise Violation(
        f'a matrix must start in the first row of a swizzle of {width} bytes,'
        f' starts at {start - SHARED}'
    )
  row, k = np.arange(rows)[:, None], np.arange(K)
  if not width and not transposed:
    offsets = row % 8 * 16 + row // 8 * stride + k % 8 * 2 + k // 8 * leading
  elif not width:
    offsets = row % 8 * 2 + row // 8 * stride + k % 8 * 16 + k // 8 * leading
  elif not transposed:
    offsets = row % 8 * width + row // 8 * stride + k * 2
  else:
    across, offset = np.divmod(row, width // 2)
    offsets = offset * 2 + across * leading + k % 8 * width + k // 8 * stride
  return swizzle(start + offsets, width)
