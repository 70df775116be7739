"""Checks with vector clocks that accesses to shared memory are ordered.

Every warp has its own clock, and a record of the other clocks that it has seen.
A barrier passes on the records of the warps that have arrived. An access is
ordered if the warp has seen all accesses on which it depends: a read depends on
the last write; a write depends on the last write and all later reads. Tensor
cores and TMA access memory through another proxy: a fence must separate their
accesses from earlier accesses by threads. A missing fence or arrival is
therefore found in any order of the threads; a wait for the wrong phase of a
barrier is found only in some orders, of which a seed chooses one.

Source: Lamport 1978; PTX ISA, "Memory consistency model", "Proxies".
"""

from typing import NamedTuple

import numpy as np

from ptx.errors import Violation

_UNIT = 2  # bytes that share a record
_NEVER = np.iinfo(np.int32).max  # a read that has not ended yet
MOST_BARRIERS = 64


class Knowledge(NamedTuple):
  """The times of all clocks that a warp has seen.

  Attributes:
    seen: the times, for accesses by threads.
    fenced: the times before a proxy fence, for the other proxy.
  """

  seen: np.ndarray
  fenced: np.ndarray

  def join(self, other: 'Knowledge') -> None:
    """Adds everything that the other has seen."""
    np.maximum(self.seen, other.seen, out=self.seen)
    np.maximum(self.fenced, other.fenced, out=self.fenced)


class Ordering:
  """The clocks of a block, and the last accesses to its shared memory.

  There is a clock for each warp, and one for each mbarrier, which counts its
  phases. TMA writes at the time at which its barrier completes.
  """

  def __init__(self, warps: int, size: int):
    clocks, units = warps + MOST_BARRIERS, -(-size // _UNIT)
    self.warps = warps
    self.seen = np.zeros((warps, clocks), np.int32)
    self.fenced = np.zeros((warps, clocks), np.int32)
    np.fill_diagonal(self.seen, 1)
    self.writer = np.zeros(units, np.int16)
    self.written = np.zeros(units, np.int32)  # 0: before the kernel began
    self.by_tma = np.zeros(units, bool)
    self.read = np.zeros((warps, units), np.int32)
    self.read_by_proxy = np.zeros((warps, units), np.int32)
    self.reading = np.zeros((warps, units), np.int16)  # asynchronous reads

  def knowledge(self) -> Knowledge:
    """The knowledge of a warp that has seen nothing."""
    size = self.seen.shape[1]
    return Knowledge(np.zeros(size, np.int32), np.zeros(size, np.int32))

  def release(self, warp: int, to: Knowledge) -> None:
    """Adds what a warp has seen to `to`."""
    to.join(Knowledge(self.seen[warp], self.fenced[warp]))
    self.seen[warp, warp] += 1

  def acquire(self, warp: int, given: Knowledge) -> None:
    Knowledge(self.seen[warp], self.fenced[warp]).join(given)

  def observe(self, warp: int, barrier: int, phases: int) -> None:
    """A warp has seen this many phases of an mbarrier complete."""
    clock = self.warps + barrier
    self.seen[warp, clock] = max(self.seen[warp, clock], phases)

  def fence(self, warp: int) -> None:
    """A proxy fence: the other proxy sees all earlier accesses from now on."""
    np.maximum(self.fenced[warp], self.seen[warp], out=self.fenced[warp])
    self.seen[warp, warp] += 1

  def thread_read(self, warps: np.ndarray, offsets: np.ndarray) -> None:
    """Lanes of `warps` [n] read bytes [n, size]."""
    warps, units = self._units(warps, offsets)
    self._after_writes(warps, units, 'read')
    self.read[warps, units] = self.seen[warps, warps]

  def thread_write(self, warps: np.ndarray, offsets: np.ndarray) -> None:
    warps, units = self._units(warps, offsets)
    self._after_writes(warps, units, 'overwritten')
    self._after_reads(self.read, self.seen, warps, units)
    self._after_reads(self.read_by_proxy, self.seen, warps, units)
    self.writer[units] = warps
    if (lost := self.writer[units] != warps).any():
      self._complain(units[lost][0], 'overwritten at the same time')
    self.written[units] = self.seen[warps, warps]
    self.by_tma[units] = False

  def begin_read(self, warps: range, offsets: np.ndarray) -> np.ndarray:
    """The tensor cores or TMA begin to read, for all of `warps`."""
    units = (offsets[..., ::_UNIT] // _UNIT).reshape(-1)
    for warp in warps:
      self._after_writes_by_proxy(warp, units, 'read')
      self.reading[warp, units] += 1
      self.read_by_proxy[warp, units] = _NEVER
    return units

  def end_read(self, warps: range, units: np.ndarray) -> None:
    """Their reads have finished, and were waited for."""
    for warp in warps:
      self.reading[warp, units] -= 1
      ended = units[self.reading[warp, units] == 0]
      self.read_by_proxy[warp, ended] = self.seen[warp, warp]

  def tma_write(
      self, warp: int, offsets: np.ndarray, barrier: int, phase: int
  ) -> None:
    """A copy that `warp` has issued; it completes with a phase of a barrier."""
    units = (offsets[..., ::_UNIT] // _UNIT).reshape(-1)
    self._after_writes_by_proxy(warp, units, 'overwritten')
    warps = np.full(len(units), warp)
    self._after_reads(self.read, self.fenced, warps, units)
    self._after_reads(self.read_by_proxy, self.seen, warps, units)
    self.writer[units] = self.warps + barrier
    self.written[units] = phase
    self.by_tma[units] = True

  def _units(self, warps, offsets):
    units = offsets[:, ::_UNIT] // _UNIT
    return np.repeat(warps, units.shape[1]), units.reshape(-1)

  def _after_writes(self, warps, units, what):
    late = self.seen[warps, self.writer[units]] < self.written[units]
    if late.any():
      self._complain(units[late][0], f'{what} without waiting for that')

  def _after_writes_by_proxy(self, warp, units, what):
    self._after_writes(np.full(len(units), warp), units, what)
    fenced = self.fenced[warp, self.writer[units]] >= self.written[units]
    late = ~fenced & ~self.by_tma[units]
    if late.any():
      self._complain(units[late][0], f'{what} without a proxy fence')

  def _after_reads(self, read, known, warps, units):
    late = known[warps, : self.warps].T < read[:, units]
    if late.any():
      reader, place = np.argwhere(late)[0]
      fence = ' without a proxy fence' if known is self.fenced else ''
      raise Violation(
          f'byte {units[place] * _UNIT} of shared memory is overwritten while'
          f' warp {reader} may still read it{fence}'
      )

  def _complain(self, unit, what):
    writer = int(self.writer[unit])
    name = f'warp {writer}'
    if writer >= self.warps:
      name = f'TMA for the mbarrier {writer - self.warps}'
    raise Violation(
        f'byte {unit * _UNIT} of shared memory, which {name} has written, is'
        f' {what}'
    )
