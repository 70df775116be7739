"""What a process of a run does now, and how long it has done each kind of work.

At any time a process is in one phase, so that the seconds of all phases sum to
its age. The watchdog reads the present phase from another thread.
"""

import collections
from collections.abc import Callable, Iterator
import contextlib
import os
import pathlib
import statistics
import time
from typing import NamedTuple

# Phases of a step. The first two do not depend on other processes.
DATA = 'waiting for data'
DISPATCH = 'starting a step'
DEVICES = 'waiting for devices'
STEP = (DATA, DISPATCH, DEVICES)

IMPORTS = 'imports'
JOINING = 'joining processes'
PREPARING = 'reading config and data'
COMPILING = 'compiling'
RESTORING = 'restoring'
EVALUATING = 'evaluating'
PROBING = 'probing'
SAVING = 'saving'
ENDING = 'showing the result'

_RECENT = 99  # steps whose median is the pace of a run


class Present(NamedTuple):
  """What a process does.

  Attributes:
    phase: one of the phases above.
    since: the time at which it was entered, or has last made progress.
    step: number of steps that were started.
  """

  phase: str
  since: float
  step: int


class Phases:
  """The phases of a process.

  Args:
    phase: the present one.
    age: seconds that it has lasted already.
    now: a clock, in seconds.

  Attributes:
    present: what the process does now; another thread may read it.
    idle: seconds of DATA in which the devices had nothing to compute.
    saved: the step of the newest checkpoint.
    remarks: what to say about phases of the start, by phase.
  """

  def __init__(
      self,
      phase: str = PREPARING,
      *,
      age: float = 0.0,
      now: Callable[[], float] = time.monotonic,
  ):
    self.now = now
    self.present = Present(phase, now() - age, 0)
    self.idle = 0.0
    self.saved = 0
    self.remarks = {}
    self._entered = self.present.since
    self._seconds = {}
    self._recent = collections.deque(maxlen=_RECENT)
    self._before = 0.0  # seconds of steps, when the last one was counted

  def enter(self, phase: str, step: int | None = None) -> None:
    """Ends the present phase, and begins another, after so many steps."""
    now = self.now()
    before = self.present.phase
    took = now - self._entered
    self._seconds[before] = self._seconds.get(before, 0.0) + took
    self._entered = now
    self.present = Present(
        phase, now, self.present.step if step is None else step
    )

  @contextlib.contextmanager
  def within(self, phase: str) -> Iterator[None]:
    """Enters a phase, and returns to the present one at the end."""
    outer = self.present.phase
    self.enter(phase)
    try:
      yield
    finally:
      self.enter(outer)

  def progress(self) -> None:
    """Says that the present phase goes on, and is not stuck."""
    self.enter(self.present.phase)

  def count(self, step: int) -> None:
    """Says that so many steps were started."""
    self.enter(self.present.phase, step)
    total = self.of_steps()
    self._recent.append(total - self._before)
    self._before = total

  def seconds(self) -> dict[str, float]:
    """Returns the seconds of each phase so far."""
    phase, took = self.present.phase, self.now() - self._entered
    return {**self._seconds, phase: self._seconds.get(phase, 0.0) + took}

  def of_steps(self, *phases: str) -> float:
    """Returns the seconds of these phases of steps; default: all of them."""
    seconds = self.seconds()
    return sum(seconds.get(phase, 0.0) for phase in phases or STEP)

  def pace(self) -> float | None:
    """Returns the median seconds of recent steps; None before the third.

    The first one counts as done when devices begin with it.
    """
    return statistics.median(self._recent) if len(self._recent) > 2 else None


def process_age() -> float:
  """Returns the seconds since this process started; outside Linux, CPU time."""
  try:
    stat = pathlib.Path('/proc/self/stat').read_text()
    started = int(stat.rpartition(')')[2].split()[19]) / os.sysconf(
        'SC_CLK_TCK'
    )
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
  except (OSError, AttributeError, ValueError, IndexError):
    return time.process_time()
