"""Processes that end together, with all that they have started.

They are one process group of POSIX. Its leader is a watchdog: unlike Linux's
parent-death signal, it ends their children too, waits before it kills, and
works on every system.
"""

from collections.abc import Sequence
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

_WATCHDOG = pathlib.Path(__file__).with_name('watchdog.py')
_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class ProcessGroup:
  """Passes signals on to a group, within a `with` block; then kills the rest.

  SIGHUP, of a terminal that was closed, is passed on as SIGTERM, for which runs
  save. Signals that this process ignores, as after nohup, stay ignored. Main
  thread only.

  Args:
    patience: seconds after a signal, or after the death of this process, until
      those who have not ended are killed.
    grace: as much after a second signal.

  Attributes:
    sent: what all of them got so far, because a signal came.
  """

  def __init__(self, *, patience: float, grace: float):
    self._delays = [patience, grace]  # of the first signal, of the second
    self._handlers = {}
    self.sent = []

  def __enter__(self) -> 'ProcessGroup':
    # The watchdog inherits what is blocked; here, what comes now comes later.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    self._watchdog = subprocess.Popen(
        [sys.executable, str(_WATCHDOG), str(self._delays[0])],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    for number in _SIGNALS:
      if signal.getsignal(number) != signal.SIG_IGN:
        self._handlers[number] = signal.signal(number, self._pass_on)
    self._handlers[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._kill)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return self

  def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen:
    """Starts a process of the group; the options are Popen's."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,  # only the foreground may read a terminal
        process_group=self._watchdog.pid,
        **options,
    )

  def send(self, number: int) -> None:
    """Sends a signal to all processes of the group, and what they started."""
    os.killpg(self._watchdog.pid, number)

  def __exit__(self, *_) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in self._handlers.items():
      signal.signal(number, handler)
    self.send(signal.SIGKILL)
    self._watchdog.communicate()

  def _pass_on(self, number, frame):
    del frame
    if self._delays:  # further signals do not put the end off
      signal.setitimer(signal.ITIMER_REAL, self._delays.pop(0))
    number = signal.Signals(number)
    number = signal.SIGTERM if number == signal.SIGHUP else number
    self.sent.append(number)
    self.send(number)

  def _kill(self, number, frame):
    del number, frame
    last = self.sent[-1].name
    self.sent.append(signal.SIGKILL)
    self.send(signal.SIGKILL)
    # Not by print(): the alarm may have come inside one.
    with contextlib.suppress(OSError):  # of a terminal that was closed
      os.write(2, f'error: {last} was not heeded in time: killed\n'.encode())
