"""Who measures jobs: this process, or several that are kept for it."""

from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import multiprocessing
import os
import signal
import sys
from typing import Any, NamedTuple

_ONE_CORE = '--xla_cpu_multi_thread_eigen=false'


class Workers(NamedTuple):
  """Attributes:

  count: of jobs that are measured at once.
  submit: takes a function and its arguments; returns a `futures.Future`.
  """

  count: int
  submit: Callable[..., futures.Future]


def _here(function, *args):
  """The future of what is computed at once; an interruption is none."""
  future = futures.Future()
  try:
    future.set_result(function(*args))
  except Exception as error:
    future.set_exception(error)
  return future


HERE = Workers(1, _here)


@contextlib.contextmanager
def processes(
    count: int, *, start: Callable[[], None] | None = None
) -> Iterator[Workers]:
  """Yields workers that are processes, of one core each.

  When this process is told to end, so are they: what they train is saved first.

  Args:
    count: how many; with 1 this process does the work, with all cores.
    start: what each of them calls first; others can import it.
  """
  if count == 1:
    yield HERE
    return
  context = multiprocessing.get_context('spawn')
  pool = futures.ProcessPoolExecutor(
      count,
      mp_context=context,
      initializer=_start,
      initargs=(context.Value('i', 0), start),
  )
  with _ended_as_interrupted():
    try:
      yield Workers(count, pool.submit)
    except BaseException:
      for child in multiprocessing.active_children():
        child.terminate()
      raise
    finally:
      pool.shutdown(cancel_futures=True)


def _start(started, start):
  """Takes one of the cores that there are; all that is before jax looks."""
  with started.get_lock():
    place = started.value
    started.value += 1
  cores = sorted(os.sched_getaffinity(0))
  os.sched_setaffinity(0, {cores[place % len(cores)]})
  flags = os.environ.get('XLA_FLAGS', '')
  os.environ['XLA_FLAGS'] = f'{flags} {_ONE_CORE}'.strip()
  sys.stderr = open(os.devnull, 'w')  # or their bars would cross
  if start:
    start()


@contextlib.contextmanager
def _ended_as_interrupted():
  """SIGTERM ends a block as an error does, and not the process at once."""
  before = signal.signal(signal.SIGTERM, _exit)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


def _exit(number: int, frame: Any) -> None:
  del frame
  sys.exit(128 + number)
