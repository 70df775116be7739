"""Barriers as the hardware counts them."""

from ptx.errors import Violation
from ptx.ordering import Ordering


class MBarrier:
  """A barrier in shared memory that counts arrivals and bytes.

  A phase completes when all arrivals and all announced bytes have come. To wait
  for a parity is to wait for the phase with that parity.
  """

  def __init__(self, number: int, count: int, ordering: Ordering):
    self.number, self.count = number, count
    self.pending, self.bytes, self.phases = count, 0, 0
    self.ordering = ordering
    self.arrived = ordering.knowledge()  # what the arriving warps have seen
    self.released = ordering.knowledge()  # what the waiting warps see

  def arrive(self, warp: int, count: int) -> None:
    self.ordering.release(warp, self.arrived)
    for _ in range(count):
      if not self.pending:  # only bytes are missing
        raise Violation(
            f'more than {self.count} arrivals at the mbarrier {self.number} in'
            ' a phase'
        )
      self.pending -= 1
      self._complete()

  def expect(self, size: int) -> None:
    """Announces bytes of this phase; an arrival follows."""
    self.bytes += size

  def receive(self, size: int) -> None:
    """Bytes have come."""
    self.bytes -= size
    self._complete()

  def completed(self, parity: int) -> bool:
    return self.phases % 2 != parity

  def observe(self, warp: int) -> None:
    """A warp has seen that the phase is over."""
    self.ordering.acquire(warp, self.released)
    self.ordering.observe(warp, self.number, self.phases)

  @property
  def idle(self) -> bool:
    """Whether no phase has begun."""
    return self.pending == self.count and not self.bytes

  def _complete(self):
    if not self.pending and not self.bytes:
      self.phases += 1
      self.pending = self.count
      self.released.join(self.arrived)


class NamedBarrier:
  """One of the sixteen barriers at which threads of a block meet (`bar`)."""

  def __init__(self, ordering: Ordering):
    self.ordering = ordering
    self.waiting, self.released = [], []

  def meet(self, group, threads: int) -> bool:
    """Whether `group` may continue; if not, it asks again later."""
    if group in self.released:
      self.released.remove(group)
      return True
    if group not in self.waiting:
      self.waiting.append(group)
    if sum(x.lanes for x in self.waiting) < threads:
      return False
    if sum(x.lanes for x in self.waiting) > threads:
      raise Violation(f'more than {threads} threads meet at this barrier')
    common = self.ordering.knowledge()
    warps = [warp for x in self.waiting for warp in x.warps]
    for warp in warps:
      self.ordering.release(warp, common)
    for warp in warps:
      self.ordering.acquire(warp, common)
    self.released += [x for x in self.waiting if x is not group]
    self.waiting = []
    return True
