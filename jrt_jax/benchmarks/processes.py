"""Calls a function in a separate process."""

from collections.abc import Callable
import multiprocessing
import signal
from typing import Any

_SECONDS_TO_EXIT = 10.0  # for the process to end after its answer


class Failed(Exception):
  """The process raised an error, died, or was ended."""


def call(
    function: Callable[..., Any], *args: Any, seconds: float | None = None
) -> Any:
  """Returns `function(*args)`, computed by a new process.

  Args:
    function: a function that the process can import.
    seconds: the process is ended after this time; None: never.

  Raises:
    ValueError: the function raised it, with the same message.
    Failed: anything else went wrong.
  """
  context = multiprocessing.get_context('spawn')
  ours, theirs = context.Pipe(duplex=False)
  process = context.Process(target=_answer, args=(theirs, function, args))
  process.start()
  theirs.close()  # the pipe then ends with the process
  try:
    if not ours.poll(seconds):
      raise Failed(f'ended after {seconds:.0f} seconds, by --time_budget')
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
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends it
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
