"""A warpgroup: 128 threads in lockstep, with their registers."""

from collections.abc import Callable
import functools
import re

import numpy as np

from ptx import code as code_lib
from ptx.code import Address
from ptx.code import Instruction
from ptx.code import Operand
from ptx.code import Register
from ptx.code import Symbol
from ptx.errors import Violation
from ptx.memory import SHARED

LANES = 128
WARP = 32
# The start of the kernel's parameters; each of them has this many bytes.
PARAMETERS, PARAMETER_SIZE = 1 << 60, 1 << 32

# Registers that the hardware writes.
_SPECIAL = (
    r'%n?(tid|ctaid|warpid|smid|cluster_\w+)\b|%(lane|grid)|%(global|clock)'
)
_BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}

# A condition for which an instruction waits.
Condition = Callable[[], bool]


class WarpGroup:
  """Four warps that take every branch together.

  Attributes:
    block: their block.
    number: the index of the group in the block.
    position: the index of the next instruction.
    register_count: the registers of each thread.
    mask: the lanes that execute the current instruction, [128].
    wgmma: their products on the tensor cores.
    stores: for each lane, its TMA copies to global memory.
  """

  lanes = LANES

  def __init__(
      self, block, number: int, code: code_lib.Code, register_count: int
  ):
    self.block, self.number, self.code = block, number, code
    self.register_count = register_count
    self.position, self.finished = 0, False
    self.registers: dict[Register, np.ndarray] = {}
    self.mask = np.ones(LANES, bool)
    self.waits_for: Condition | None = None
    self.wgmma = Asynchronous()
    self.stores = [Asynchronous() for _ in range(LANES)]
    # Products in flight, and the registers that they write and read; those that
    # threads have written since the last wgmma.fence.
    self.products = []
    self.accumulators: set[Register] = set()
    self.sources: set[Register] = set()
    self.unfenced: set[Register] = set()

  @property
  def warps(self) -> range:
    """The numbers of its warps in the block."""
    return range(self.number * 4, self.number * 4 + 4)

  @property
  def warp_of_lane(self) -> np.ndarray:
    return np.arange(LANES) // WARP + self.number * 4

  @property
  def active_warps(self) -> list[int]:
    """The warps with a lane that executes the current instruction."""
    active = self.mask.reshape(-1, WARP).any(axis=1)
    return [warp for warp, is_active in zip(self.warps, active) if is_active]

  @property
  def ready(self) -> bool:
    return self.waits_for is None or self.waits_for()

  @property
  def next(self) -> Instruction:
    return self.code.instructions[self.position]

  def run(self, steps: int, perform: Callable[..., Condition | None]) -> None:
    """Executes at most this many instructions, until one must wait."""
    for _ in range(steps):
      instruction = self.next
      self.mask = self._lanes(instruction)
      self.waits_for = perform(self, instruction)
      if self.waits_for or self.finished:
        return
      self.position += 1

  def need_every_lane(self) -> None:
    """Raises Violation if only some lanes execute the current instruction."""
    if not self.mask.all():
      raise Violation('all threads of the warpgroup must execute this together')

  def branch(self, label: Register) -> None:
    if self.mask.all():
      if label not in self.code.labels:
        raise Violation(f'there is no label {label}')
      self.position = self.code.labels[label] - 1  # one is added to it
    elif self.mask.any():
      raise Violation('the threads of a warpgroup take different branches')

  def read(self, operand: Operand, dtype) -> np.ndarray:
    """The values [128] of an operand."""
    dtype = np.dtype(dtype)
    if isinstance(operand, Register):
      value = self._register(operand)
    elif isinstance(operand, int) and dtype == bool:
      value = np.full(LANES, operand != 0)
    elif isinstance(operand, int):
      value = _constant(operand, dtype.itemsize)
    elif isinstance(operand, Symbol):
      value = _constant(_address(operand), dtype.itemsize)
    else:
      raise Violation(f'{operand} is no value')
    if dtype == bool or value.dtype.itemsize == dtype.itemsize:
      return value.view(dtype)
    raise Violation(
        f'{operand} has {8 * value.dtype.itemsize} bits, not'
        f' {8 * dtype.itemsize}'
    )

  def uniform(self, operand: Operand, dtype) -> int:
    """The value of an operand that must be the same in all executing lanes."""
    values = self.read(operand, dtype)[self.mask]
    if (values != values[0]).any():
      raise Violation(f'{operand} is not the same in all threads')
    return int(values[0])

  def addresses(self, operand: Address) -> np.ndarray:
    """The value of an address, int64 [128]."""
    base = operand.base
    if isinstance(base, Register):
      value = self._register(base)
    else:
      value = _constant(_address(base), 8)
    return value.astype(np.int64) + operand.offset

  def write(self, target: Register | None, value: np.ndarray) -> None:
    """Writes to a register in the lanes that execute the instruction."""
    if target is None:
      return
    if not isinstance(target, Register):
      raise Violation(f'{target} is no register')
    if target in self.accumulators or target in self.sources:
      raise Violation(f'writes {target}, which a wgmma in flight uses')
    if value.dtype != bool:
      value = value.view(_BITS[value.dtype.itemsize])
    if not self.mask.all():
      old = self.registers.get(target)
      poison = np.full(LANES, -1).astype(value.dtype)
      value = np.where(self.mask, value, poison if old is None else old)
    self.registers[target] = value
    self.unfenced.add(target)

  def _register(self, name):
    if name == '%tid.x':
      return np.arange(LANES, dtype=np.uint32) + np.uint32(self.number * LANES)
    if name in ('%ctaid.x', '%ctaid.y', '%ctaid.z'):
      return _constant(self.block.place['xyz'.index(name[-1])], 4)
    if re.match(_SPECIAL, name):
      raise Violation(f'{name} is not modelled')
    if name not in self.registers:
      raise Violation(f'reads {name}, which was never written')
    if name in self.accumulators:
      raise Violation(f'reads {name}, which a wgmma in flight writes')
    return self.registers[name]

  def _lanes(self, instruction):
    if instruction.predicate is None:
      return _EVERY_LANE
    mask = self.read(instruction.predicate, bool)
    return ~mask if instruction.negated else mask


class Asynchronous:
  """Operations in flight, in groups; waits end the groups in order."""

  def __init__(self):
    self.open, self.groups = [], []

  def add(self, operation: Callable[[], None]) -> None:
    self.open.append(operation)

  def commit(self) -> None:
    self.groups.append(self.open)
    self.open = []

  def wait(self, remaining: int) -> None:
    """Ends all groups except the last `remaining` ones."""
    while len(self.groups) > remaining:
      for operation in self.groups.pop(0):
        operation()

  @property
  def idle(self) -> bool:
    return not self.open and not any(self.groups)


_EVERY_LANE = np.ones(LANES, bool)


def _address(symbol):
  if symbol.parameter is None:
    return SHARED + symbol.offset
  return PARAMETERS + symbol.parameter * PARAMETER_SIZE + symbol.offset


@functools.lru_cache(4096)
def _constant(value, size):
  bits = value & ((1 << 8 * size) - 1)
  constant = np.full(LANES, bits, _BITS[size])
  constant.flags.writeable = False
  return constant
