"""Ends a process with one line of text when another process of the run is gone.

There are two ways to notice this: a collective operation raises an error, or
XLA loses the coordinator. In the second case XLA aborts the process from its
own thread, after printing pages of stack traces. Only a signal handler, which
runs in that thread, can replace these by a message.
"""

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
_handler = None  # a reference must be kept, since C does not hold one


def leave(process_id: int, reason: str) -> NoReturn:
  """Ends the process at once, with a line that says why."""
  _once.acquire()  # never released: other threads wait here for the end
  text = (
      f'error: process {process_id} lost the connection to another process: see'
      f' the output of that one; the same command continues ({reason})\n'
  )
  os.write(2, text.encode())
  os._exit(exit_codes.FAILURE)


def watch(process_id: int) -> None:
  """Makes an abort of XLA call `leave`, except with --verbosity=1."""
  if logging.level_debug():
    return
  global _handler
  reason = 'XLA has aborted it; --verbosity=1 shows more'
  _handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(
      lambda number: leave(process_id, reason)
  )
  ctypes.CDLL(None).signal(signal.SIGABRT, _handler)
  utils.absl_set_min_log_level(_SILENCE)
