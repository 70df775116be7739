"""Processes that end together, including all their children.

They form a POSIX process group, whose leader is a watchdog. Unlike Linux's
parent-death signal, a watchdog also ends children, waits before it kills, and
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
  """Passes signals on to a group in a `with` block, and kills it at the end.

  SIGHUP (the terminal was closed) is passed on as SIGTERM, on which runs save.
  Signals that this process ignores, as after nohup, stay ignored. Main thread
  only.

  Args:
    patience: seconds after a signal, or after this process is killed, until
      the remaining processes are killed.
    grace: seconds after a second signal until they are killed.

  Attributes:
    sent: the signals that were passed on so far.
  """

  def __init__(self, *, patience: float, grace: float):
    self._delays = [patience, grace]  # of the first signal, of the second
    self._handlers = {}
    self.sent = []

  def __enter__(self) -> 'ProcessGroup':
    # The watchdog inherits the blocked signals; here they are only delayed.
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
    """Starts a process of the group, with options of `subprocess.Popen`."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,  # only the foreground may read a terminal
        process_group=self._watchdog.pid,
        **options,
    )

  def send(self, number: int) -> None:
    """Sends a signal to all processes of the group and their children."""
    os.killpg(self._watchdog.pid, number)

  def __exit__(self, *_) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in self._handlers.items():
      signal.signal(number, handler)
    self.send(signal.SIGKILL)
    self._watchdog.communicate()

  def _pass_on(self, number, frame):
    del frame
    if self._delays:  # further signals do not postpone the end
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
    # Not with print(): the alarm may interrupt one.
    with contextlib.suppress(OSError):  # the terminal was closed
      line = f'error: killed, as {last} did not end all processes in time\n'
      os.write(2, line.encode())
