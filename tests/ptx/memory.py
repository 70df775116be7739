"""Global and shared memory as bytes; unwritten memory is NaN."""

from collections.abc import Sequence

import numpy as np

from ptx.errors import Violation

# Where shared memory starts: a multiple of 1024, as the swizzles need.
SHARED = 1024
_POISON = 0xFF  # a float of such bytes is NaN
GLOBAL = 1 << 36  # its start; each array starts at a multiple of this


class GlobalMemory:
  """The arrays that a kernel reads, followed by those that it writes."""

  def __init__(
      self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
  ):
    """Copies `inputs`; of `outputs` (arrays or their shapes) only the sizes."""
    self.arrays = [
        np.frombuffer(np.ascontiguousarray(x).tobytes(), np.uint8)
        for x in inputs
    ]
    for x in outputs:
      size = x.size * np.dtype(x.dtype).itemsize
      self.arrays.append(np.full(size, _POISON, np.uint8))

  def address(self, argument: int) -> int:
    return (argument + 1) * GLOBAL

  def load(self, addresses: np.ndarray, size: int) -> np.ndarray:
    """Returns the bytes [n, size] that start at `addresses` [n]."""
    array, offsets = self.locate(addresses, size)
    return array[offsets[:, None] + np.arange(size)]

  def store(self, addresses: np.ndarray, data: np.ndarray) -> None:
    """Writes the bytes `data` [n, size]."""
    array, offsets = self.locate(addresses, data.shape[1])
    if not array.flags.writeable:
      raise Violation('writes to an argument that is only read')
    array[offsets[:, None] + np.arange(data.shape[1])] = data

  def locate(self, addresses, size):
    """The array that contains all these addresses, and the offsets in it."""
    argument = int(addresses[0]) // GLOBAL - 1
    if not 0 <= argument < len(self.arrays):
      raise Violation(f'{int(addresses[0]):#x} is no address of an argument')
    array = self.arrays[argument]
    offsets = addresses - self.address(argument)
    _check_inside(offsets, size, len(array), f'argument {argument}')
    return array, offsets


def _check_inside(offsets, size, end, name):
  """Raises a Violation unless accesses of `size` bytes are inside and aligned."""
  if offsets.min() < 0 or offsets.max() + size > end:
    raise Violation(
        f'{name} has {end} bytes, accessed are {offsets.min()} to'
        f' {offsets.max() + size}'
    )
  if (odd := offsets[offsets % size != 0]).size:
    raise Violation(f'byte {odd[0]} of {name} is no multiple of {size} bytes')


class SharedMemory:
  """The shared memory of a block.

  It only stores bytes; `ordering` checks the order of accesses.
  """

  def __init__(self, size: int):
    self.bytes = np.full(size, _POISON, np.uint8)
    self.reserved = np.zeros(size, bool)  # bytes of barriers

  def reserve(self, address: int, size: int) -> None:
    """Keeps bytes for a barrier."""
    offsets = self.locate(np.array([address]), size)
    self.reserved[offsets] = True

  def locate(self, addresses: np.ndarray, size: int) -> np.ndarray:
    """The offsets [..., size] of the bytes from `addresses` [...] on."""
    offsets = addresses - SHARED
    _check_inside(offsets, size, len(self.bytes), 'shared memory')
    offsets = offsets[..., None] + np.arange(size)
    if self.reserved[offsets].any():
      raise Violation('accesses a barrier as if it were data')
    return offsets


def swizzle(addresses: np.ndarray, width: int) -> np.ndarray:
  """Returns the swizzled addresses of bytes, for tile rows of `width` bytes.

  Source: PTX ISA, "Swizzling modes": units of 16 bytes are permuted by the
    number
  of the row, so that columns are spread over all banks.

  Args:
    addresses: addresses of bytes.
    width: 32, 64 or 128; 0 or 16 for none.
  """
  if width <= 16:
    return addresses
  return addresses ^ ((addresses >> 3) & (width - 16))
