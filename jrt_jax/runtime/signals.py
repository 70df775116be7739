"""Signals that ask a run to stop."""

import os
import signal
import time

import jax

from jrt_jax.runtime import distributed

# Processes must agree on a signal to stop. They ask each other, and wait for
# their devices then, after so many seconds, and at most so many steps.
_SECONDS_TO_AGREE, _STEPS_TO_AGREE = 5.0, 5


class StopRequest:
  """Turns SIGTERM and the first SIGINT into a flag, within a `with` block.

  The training loop checks `signal` between two steps, and saves before it ends.
  A second SIGINT raises KeyboardInterrupt at once. Main thread only.

  Args:
    tell: whether to print a line on stderr when a signal arrives.
  """

  def __init__(self, tell: bool = True):
    self._tell = tell
    self.signal = None  # signal.Signals, the first one that arrived
    self._handlers = {}

  def __enter__(self) -> 'StopRequest':
    for number in (signal.SIGTERM, signal.SIGINT):
      self._handlers[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_) -> None:
    for number, handler in self._handlers.items():
      signal.signal(number, handler)

  def _handle(self, number, frame):
    del frame
    self.signal = self.signal or signal.Signals(number)
    if number == signal.SIGINT:
      signal.signal(signal.SIGINT, signal.default_int_handler)
    if self._tell:  # not with print(): the signal may interrupt one
      name = signal.Signals(number).name
      os.write(2, f'\n{name}: stopping after this step.\n'.encode())


class Agreement:
  """Stops all processes of a run after the same step.

  Args:
    stop: the request that this process has got, if any.
  """

  def __init__(self, stop: StopRequest):
    self._stop = stop
    self._agreed, self._next = (0, time.perf_counter()), 0

  def after(self, step: int) -> signal.Signals | None:
    """The signal that stops the run now, or None; the same in all processes."""
    if jax.process_count() == 1:
      return self._stop.signal
    if step < self._next:
      return None
    number, steps = distributed.largest(
        self._stop.signal or 0, self._steps_to_agree(step)
    )
    self._next = step + steps
    return signal.Signals(number) if number else None

  def _steps_to_agree(self, step):
    """The number of steps until processes ask again, by the recent pace."""
    (before, then), now = self._agreed, time.perf_counter()
    self._agreed = step, now
    pace = (step - before) / (now - then)
    return max(min(int(_SECONDS_TO_AGREE * pace), _STEPS_TO_AGREE), 1)
