"""Ends a process with one line of text when another process of the run is gone.

There are two ways to notice this: a collective operation raises an error, or
XLA loses the coordinator. In the second case XLA aborts the process from its
own thread, after printing pages of stack traces. Only a signal handler, which
runs in that thread, can replace these by a message.
"""

from collections.abc import Callable
import ctypes
import os
import signal
import threading
from typing import NoReturn

from absl import logging
from jaxlib import utils  # pyright: ignore[reportAttributeAccessIssue]

from jrt_jax.runtime import exit_codes

_SILENCE = 1000  # absl's kInfinity: XLA does not even log fatal errors
_once = threading.Lock()
_explain: Callable[[], tuple[str, int] | None] | None = None
_handler = None  # a reference must be kept, since C does not hold one


def leave(process_id: int, reason: str) -> NoReturn:
  """Ends the process at once, with a line that says why."""
  hold()
  if _explain and (explanation := _explain()):
    reason, code = explanation
    tell(f'process {process_id} waits in vain: {reason}')
    os._exit(code)
  tell(
      f'process {process_id} lost the connection to another process: see the'
      f' output of that one; the same command continues ({reason})'
  )
  os._exit(exit_codes.FAILURE)


def explain_with(explain: Callable[[], tuple[str, int] | None] | None) -> None:
  """Sets what may know why a peer is lost, and the exit code; None: nothing."""
  global _explain
  _explain = explain


def hold() -> None:
  """Lets only the calling thread end this process from now on.

  Other threads that notice a lost peer wait here for the end.
  """
  _once.acquire()


def tell(text: str) -> None:
  """Prints an error, even in the handler of a signal."""
  os.write(2, f'error: {text}\n'.encode())


def watch(process_id: int) -> None:
  """Replaces XLA's report of an abort by a line, except with --verbosity=1."""
  if logging.level_debug():
    return
  global _handler
  _handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(
      lambda number: _aborted(process_id)
  )
  ctypes.CDLL(None).signal(signal.SIGABRT, _handler)
  utils.absl_set_min_log_level(_SILENCE)


def _aborted(process_id):
  """Ends the process; if this returns, SIGABRT ends it."""
  if threading.get_ident() == threading.main_thread().ident:
    tell(  # XLA notices a lost coordinator in another thread
        f'process {process_id} was aborted by XLA or another library that it'
        ' called: --verbosity=1 shows why'
    )
    return
  leave(
      process_id,
      'or XLA aborted this one for another reason: --verbosity=1 shows it',
  )
