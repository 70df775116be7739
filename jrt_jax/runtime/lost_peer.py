"""How a process of a run ends that has lost another one: with one line.

Whichever sees it first says it: a broken collective, which raises an error, or
XLA's watch over the coordinator. That one aborts the process from a thread of
its own, after pages about its source and Python's stack; nothing but a handler
of the signal, which runs in that thread, can put a word in.
"""

import ctypes
import os
import signal
import threading
from typing import NoReturn

from absl import logging
from jaxlib import utils

from jrt_jax.runtime import exit_codes

_SILENCE = 1000  # absl's kInfinity: XLA logs not even what it dies of
_once = threading.Lock()
_handler = None  # kept here, for C does not count references


def leave(process_id: int, reason: str) -> NoReturn:
  """Ends the process at once; says that it has lost another one, and why."""
  _once.acquire()  # for good: other threads wait for the end here
  text = (
      f'error: process {process_id} seems to have lost another one, whose'
      f' output tells why; the same command continues ({reason})\n'
  )
  os.write(2, text.encode())
  os._exit(exit_codes.FAILURE)


def watch(process_id: int) -> None:
  """Makes XLA's abort end in `leave`, unless details are asked for."""
  if logging.level_debug():
    return
  global _handler
  reason = 'XLA has aborted it; --verbosity=1 shows more'
  _handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(
      lambda number: leave(process_id, reason)
  )
  ctypes.CDLL(None).signal(signal.SIGABRT, _handler)
  utils.absl_set_min_log_level(_SILENCE)
