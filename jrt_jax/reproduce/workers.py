"""Workers that run jobs: this process, or a pool of processes."""

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
  """The workers of a command.

  Attributes:
    count: how many jobs run at once.
    submit: takes a function and its arguments; returns a `futures.Future`.
  """

  count: int
  submit: Callable[..., futures.Future]


def _here(function, *args):
  """Computes at once; returns a finished future or raises KeyboardInterrupt."""
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
  """Yields workers that are processes with one core each.

  A signal that ends this process also ends them; they save their runs first.

  Args:
    count: the number of processes; with 1, this process does the work with all
      cores.
    start: a function that each process calls first; it must be importable.
  """
  if count == 1:
    yield HERE
    return
  # A process loads OpenBLAS before `_start` pins it. With more threads than
  # cores, small systems of equations took 400 times as long.
  os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
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
  """Pins the process to one core; this must happen before jax counts cores."""
  with started.get_lock():
    place = started.value
    started.value += 1
  cores = sorted(os.sched_getaffinity(0))
  os.sched_setaffinity(0, {cores[place % len(cores)]})
  flags = os.environ.get('XLA_FLAGS', '')
  os.environ['XLA_FLAGS'] = f'{flags} {_ONE_CORE}'.strip()
  sys.stderr = open(os.devnull, 'w')  # progress bars would mix
  if start:
    start()


@contextlib.contextmanager
def _ended_as_interrupted():
  """Within this context, SIGTERM raises an error instead of ending at once."""
  before = signal.signal(signal.SIGTERM, _exit)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


def _exit(number: int, frame: Any) -> None:
  del frame
  sys.exit(128 + number)
