"""Addresses of matrices in shared memory, from the descriptors of wgmma.

Source: PTX ISA, "Matrix Descriptor Format" and "Canonical Layouts".
"""

import functools

import numpy as np

from ptx.errors import Violation
from ptx.memory import SHARED
from ptx.memory import swizzle

K = 16  # of a product, elements of 2 bytes
_SWIZZLE_WIDTHS = {0: 0, 1: 128, 2: 64, 3: 32}
# The fields of a matrix descriptor: start, leading and stride offset, base
# offset, swizzle.
_FIELDS = 0x3FFF | 0x3FFF << 16 | 0x3FFF << 32 | 7 << 49 | 3 << 62


@functools.lru_cache(1024)
def addresses(descriptor: int, rows: int, transposed: bool) -> np.ndarray:
  """The addresses [rows, 16] at which the elements of an operand begin.

  Elements are in cores of 8 rows. Rows have 16 bytes without a swizzle, else
  the width of the swizzle. Neighbours in a row are neighbours in K, or in M or
  N if the operand is transposed.

  Args:
    descriptor: 64 bits.
    rows: the size of the operand in M or N.
    transposed: whether M or N is contiguous.

  Raises:
    Violation: the hardware or this model does not support the value of a field.
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
