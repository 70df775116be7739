"""Executes the host's code before a kernel: tensor maps, and the launch.

Mosaic GPU also compiles code for the host, which creates the tensor maps of TMA
and launches the kernel. It is executed here as MLIR, so that nothing about the
arrays has to be specified twice.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
import re

import numpy as np

from ptx.errors import Violation

# Bytes of an element, by the number of its type in the host code:
# integers of 8 to 64 bits, float16, float32, bfloat16, signed integers.
_ELEMENTS = {1: 1, 2: 2, 3: 4, 4: 8, 5: 2, 6: 4, 7: 2, 9: 4, 10: 8}


@dataclasses.dataclass(frozen=True)
class TensorMap:
  """The description of an array for TMA; the last dimension is contiguous.

  Attributes:
    argument: the index of the kernel's argument.
    element: bytes of an element.
    sizes: elements in each dimension.
    strides: the stride of each dimension, in elements.
    box: the elements in each dimension that are copied at once.
    swizzle: bytes of the swizzle in shared memory; 16 for none.
  """

  argument: int
  element: int
  sizes: tuple[int, ...]
  strides: tuple[int, ...]
  box: tuple[int, ...]
  swizzle: int

  def elements(
      self, coordinates: Sequence[int]
  ) -> tuple[np.ndarray, np.ndarray]:
    """The offsets of the elements of a box, and whether they are in the array.

    Args:
      coordinates: those of the first element, contiguous dimension first.

    Returns:
      Offsets in bytes [n], and booleans [n].
    """
    if len(coordinates) != len(self.box):
      raise Violation(
          f'a tensor map of {len(self.box)} dimensions got {len(coordinates)}'
          ' coordinates'
      )
    places = np.indices(self.box).reshape(len(self.box), -1).T
    places = places + np.array(coordinates[::-1])
    inside = ((places >= 0) & (places < self.sizes)).all(axis=1)
    return places @ np.array(self.strides) * self.element, inside


@dataclasses.dataclass(frozen=True)
class Launch:
  """The launch of a kernel.

  Attributes:
    grid: blocks in each dimension.
    threads: threads of a block in each dimension.
    shared_memory: bytes of a block.
    parameters: arguments by their indices, or tensor maps by their offsets.
  """

  grid: tuple[int, ...]
  threads: tuple[int, ...]
  shared_memory: int
  parameters: tuple[int | Mapping[int, TensorMap], ...]

  @property
  def tensor_maps(self) -> list[TensorMap]:
    maps = [x for x in self.parameters if not isinstance(x, int)]
    return [tensor_map for x in maps for tensor_map in x.values()]


def read_launch(mlir: str) -> Launch:
  """Executes the host code of a kernel up to its launch.

  Raises:
    Violation: an operation is not modelled.
  """
  if not (start := re.search(r'func\.func @\w+\(', mlir)):
    raise Violation('there is no code of the host')
  header, _, body = mlir[start.start() :].partition('\n')
  _, table = re.findall(r'(%\w+): !llvm\.ptr', header)
  host = _Host(table)
  for line in body.splitlines():
    line = re.sub(r' loc\(.*\)$', '', line.strip())
    if line.startswith('gpu.launch_func'):
      return host.launch(line)
    host.execute(line)
  raise Violation('the host code launches nothing')


@dataclasses.dataclass(frozen=True)
class _Pointer:
  """A pointer into the table of arguments or to an allocation of the host."""

  base: str
  offset: int = 0

  def plus(self, offset):
    return _Pointer(self.base, self.offset + offset)


@dataclasses.dataclass(frozen=True)
class _Argument:
  """The address of an argument."""

  number: int


# Views of an array: their sizes and strides are passed to TMA separately.
_VIEWS = (
    'builtin.unrealized_conversion_cast',
    'memref.transpose',
    'memref.reinterpret_cast',
    'memref.extract_aligned_pointer_as_index',
    'llvm.inttoptr',
    'llvm.ptrtoint',
)


class _Host:
  """The values of the host's code by name, and its stores."""

  def __init__(self, table):
    self.table = table
    self.values = {table: _Pointer(table)}
    self.stored = {}  # numbers, by pointer
    self.maps = {}  # tensor maps by offset, by what holds them

  def execute(self, line):
    parts = re.match(r'(?:(%\w+) = )?(\w+(?:\.\w+)*)(.*)$', line)
    if not parts:
      raise Violation(f'the host code is not understood: {line}')
    target, name, rest = parts.groups()
    operands = [self.values[x] for x in re.findall(r'%\w+', rest)]
    value = self.compute(target, name, rest, operands)
    if target:
      self.values[target] = value

  def compute(self, target, name, rest, operands):
    """The value of an operation."""
    match name:
      case 'llvm.mlir.constant':
        return int(re.match(r'\((-?\d+)', rest)[1])
      case 'llvm.mlir.undef':
        return None
      case 'llvm.mul':
        return math.prod(operands)
      case 'llvm.add':  # an address and an offset
        return self.whole(operands[0], offset=operands[1])
      case 'llvm.alloca' | 'memref.alloca':
        return _Pointer(target)
      case 'llvm.getelementptr':
        return operands[0].plus(int(_brackets(rest)))
      case 'llvm.load':
        return self.load(operands[0])
      case 'llvm.store':
        self.stored[operands[1]] = operands[0]
      case 'memref.store':
        value, pointer, index = operands
        self.stored[pointer.plus(index)] = value
      case 'llvm.insertvalue':  # into the description of an array
        value, array = operands
        field = _brackets(rest)
        offset = value if field == '2' else 0
        return self.whole(value if field == '1' else array, offset=offset)
      case 'llvm.extractvalue' if _brackets(rest) in '12':
        return operands[0] if _brackets(rest) == '1' else 0
      case _ if name in _VIEWS:
        starts = re.search(r' to offset: \[(?!0\])(.*?)\]', rest)
        return self.whole(operands[0], offset=starts and starts[1])
      case 'call' if rest.startswith(' @mosaic_gpu_init_tma_desc('):
        self.describe(*operands)
      case _:
        raise Violation(f'the host does what is not modelled: {name}{rest}')

  def whole(self, array, *, offset):
    if offset:
      raise Violation(f'only whole arrays are modelled, not from {offset} on')
    return array

  def load(self, pointer):
    if pointer.base == self.table:
      return _Argument(pointer.offset)
    return self.maps[pointer.base]

  def describe(self, to, array, kind, rank, sizes, strides, swizzle, box):
    numbers = lambda pointer: tuple(
        self.stored[pointer.plus(i)] for i in range(rank)
    )
    if kind not in _ELEMENTS:
      raise Violation(f'{kind} is no type of elements that is modelled')
    self.maps.setdefault(to.base, {})[to.offset] = TensorMap(
        argument=array.number,
        element=_ELEMENTS[kind],
        sizes=numbers(sizes),
        strides=numbers(strides),
        box=numbers(box),
        swizzle=swizzle,
    )

  def launch(self, line):
    def values(pattern):
      names = re.findall(r'%\w+', re.search(pattern, line)[1])
      return tuple(self.values[name] for name in names)

    if ' clusters in ' in line:
      raise Violation('clusters of blocks are not modelled')
    threads = values(r'threads in \((.*?)\)')
    if threads[1:] != (1, 1):
      raise Violation(f'threads must have one dimension, are {threads}')
    (shared_memory,) = values(r'dynamic_shared_memory_size (%\w+)')
    return Launch(
        grid=values(r'blocks in \((.*?)\)'),
        threads=threads,
        shared_memory=shared_memory,
        parameters=tuple(
            x.number if isinstance(x, _Argument) else x
            for x in values(r' args\((.*)\)')
        ),
    )


def _brackets(text):
  """The text in the first brackets."""
  return re.search(r'\[(.*?)\]', text)[1]
