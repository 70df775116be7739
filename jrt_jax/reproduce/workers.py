"""Who measures jobs: this process, or several that are kept for it."""

from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import multiprocessing
import os
import signal
import sys
from typing import Any, NamedTuple

from jrt_jax import compilation_cache

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
def processes(count: int, *, cache: bool) -> Iterator[Workers]:
  """Yields workers that are processes, of one core each.

  When this process is told to end, so are they: what they train is saved first.

  Args:
    count: how many; with 1 this process does the work, with all cores.
    cache: whether they keep what they compile.
  """
  if count == 1:
    yield HERE
    return
  pool = futures.ProcessPoolExecutor(
      count,
      mp_context=multiprocessing.get_context('spawn'),
      initializer=_start,
      initargs=(cache,),
  )
  with _environment(), _ended_as_interrupted():
    try:
      yield Workers(count, pool.submit)
    except BaseException:
      for child in multiprocessing.active_children():
        child.terminate()
      raise
    finally:
      pool.shutdown(cancel_futures=True)


def _start(cache):
  if cache:
    compilation_cache.turn_on()


@contextlib.contextmanager
def _environment():
  """What processes find that are started meanwhile: no bars, a core each."""
  changes = {
      'TQDM_DISABLE': '1',
      'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {_ONE_CORE}'.strip(),
  }
  before = {name: os.environ.get(name) for name in changes}
  os.environ.update(changes)
  try:
    yield
  finally:
    for name, value in before.items():
      os.environ.pop(name)
      if value is not None:
        os.environ[name] = value


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
