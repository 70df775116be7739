"""One block of threads: its warpgroups, its shared memory, its barriers."""

import collections
from collections.abc import Callable, Sequence
import random

import numpy as np

from ptx.barriers import MBarrier
from ptx.barriers import NamedBarrier
from ptx.code import Code
from ptx.errors import Violation
from ptx.host import Launch
from ptx import instructions
from ptx.memory import GlobalMemory
from ptx.memory import SHARED
from ptx.memory import SharedMemory
from ptx.ordering import MOST_BARRIERS
from ptx.ordering import Ordering
from ptx.warpgroup import LANES
from ptx.warpgroup import WarpGroup

_BARRIER_SIZE = 8  # bytes of an mbarrier


class Block:
  """Runs the warpgroups of a block in turn, in a random order.

  Attributes:
    place: the position of the block in the grid.
    late: whether asynchronous operations access memory as late as they may, and
      not as soon as they can.
    free_registers: the registers that its threads have released.
  """

  def __init__(
      self,
      code: Code,
      launch: Launch,
      memory: GlobalMemory,
      place: Sequence[int],
      *,
      registers: int,
      late: bool,
      seed: int,
  ):
    threads, size = launch.threads[0], launch.shared_memory
    self.launch, self.memory, self.place = launch, memory, place
    self.late, self.random = late, random.Random(f'{seed} {place}')
    self.shared = SharedMemory(size)
    self.ordering = Ordering(threads // 32, size)
    self.mbarriers: dict[int, MBarrier] = {}
    self.named = collections.defaultdict(lambda: NamedBarrier(self.ordering))
    self.loads: list[Callable[[], None]] = []  # by TMA, to shared memory
    self.free_registers = 0
    self.groups = [
        WarpGroup(self, i, code, registers) for i in range(threads // LANES)
    ]

  def run(self) -> None:
    """Runs until every thread has ended.

    Raises:
      Violation: naming the instruction and the line of the kernel.
    """
    while running := [x for x in self.groups if not x.finished]:
      ready = [x for x in running if x.ready]
      if ready:
        group = self.random.choice(ready)
        group.run(self.random.randrange(20, 400), instructions.perform)
      elif self.loads:
        self.loads.pop(self.random.randrange(len(self.loads)))()
      else:
        waiting = ', '.join(map(self.where, running))
        raise Violation(f'block {self.place} is in a deadlock: {waiting}')
    self._check_the_end()

  def where(self, group: WarpGroup) -> str:
    """The next instruction of a group, for a message."""
    instruction = group.next
    where = f'warpgroup {group.number} at {instruction.source}'
    return f'{where} ({instruction.text})'

  def mbarrier(
      self, address: int, warps: Sequence[int], *, by_tma: bool = False
  ) -> MBarrier:
    """The barrier at an address; `warps` use it, themselves or through TMA."""
    if address not in self.mbarriers:
      raise Violation(f'there is no mbarrier at byte {address - SHARED}')
    where = _barrier_bytes(address)
    for warp in warps:
      if by_tma:
        only = range(warp, warp + 1)
        self.ordering.end_read(only, self.ordering.begin_read(only, where))
      else:
        self.ordering.thread_read(np.array([warp]), where)
    return self.mbarriers[address]

  def make_mbarrier(self, address: int, count: int, warp: int) -> None:
    if address in self.mbarriers:
      raise Violation(
          f'there is an mbarrier at byte {address - SHARED} already'
      )
    self.shared.reserve(address, _BARRIER_SIZE)
    self.ordering.thread_write(np.array([warp]), _barrier_bytes(address))
    if (number := len(self.mbarriers)) == MOST_BARRIERS:
      raise Violation(f'more than {MOST_BARRIERS} mbarriers are not modelled')
    self.mbarriers[address] = MBarrier(number, count, self.ordering)

  def deliver(self, copy: Callable[[], None]) -> None:
    """Completes a copy to shared memory, now or later."""
    if self.late:
      self.loads.append(copy)
    else:
      copy()

  def load_shared(self, warps, addresses, size) -> np.ndarray:
    """Bytes [n, size] that lanes of `warps` [n] read."""
    offsets = self.shared.locate(addresses, size)
    self.ordering.thread_read(warps, offsets)
    return self.shared.bytes[offsets]

  def store_shared(self, warps, addresses, data) -> None:
    """Writes bytes [n, size] by lanes of `warps` [n]."""
    offsets = self.shared.locate(addresses, data.shape[1])
    self.ordering.thread_write(warps, offsets)
    self.shared.bytes[offsets] = data

  def _check_the_end(self):
    if self.loads:
      raise Violation(f'block {self.place} ends while TMA still copies to it')
    for address, barrier in self.mbarriers.items():
      if not barrier.idle:
        raise Violation(
            f'block {self.place} ends in the middle of a phase of the mbarrier'
            f' {barrier.number} at byte {address - SHARED}'
        )


def _barrier_bytes(address):
  return (address - SHARED + np.arange(_BARRIER_SIZE))[None]
