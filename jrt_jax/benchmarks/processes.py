"""Calls a function in a process of its own."""

from collections.abc import Callable
import multiprocessing
import signal
from typing import Any

_SECONDS_TO_EXIT = 10.0  # after the answer, by itself


class Failed(Exception):
  """The process raised, died, or was ended; says how."""


def call(
    function: Callable[..., Any], *args: Any, seconds: float | None = None
) -> Any:
  """Returns `function(*args)`, which a new process computes.

  Args:
    function: what it can import.
    *args: for it.
    seconds: after which the process is ended; None: never.

  Raises:
    ValueError: the function did, with the same message.
    Failed: all else that went wrong.
  """
  context = multiprocessing.get_context('spawn')
  ours, theirs = context.Pipe(duplex=False)
  process = context.Process(target=_answer, args=(theirs, function, args))
  process.start()
  theirs.close()  # so that the end of the process ends the pipe
  try:
    if not ours.poll(seconds):
      raise Failed(f'ended after {seconds:.0f} seconds, by --budget')
    error, result = ours.recv()
    process.join(_SECONDS_TO_EXIT)
  except EOFError:
    process.join()
    raise Failed(f'the process died, exit code {process.exitcode}') from None
  finally:
    process.kill()
    process.join()
  if error:
    raise error
  return result


def _answer(pipe, function, args):
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # who called ends it
  try:
    answer = None, function(*args)
  except ValueError as error:
    answer = ValueError(str(error)), None
  except Exception as error:
    answer = Failed(_in_one_line(error)), None
  pipe.send(answer)


def _in_one_line(error):
  first = (str(error).strip() or 'no message').splitlines()[0]
  return f'{type(error).__name__}: {first}'
