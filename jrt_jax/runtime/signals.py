"""Signals that ask a run to stop."""

import os
import signal


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
