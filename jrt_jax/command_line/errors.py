"""One line and an exit code for each error of a command, and for Ctrl-C."""

from collections.abc import Iterator
import contextlib
import logging as python_logging
import os
import re
import sys
from typing import NoReturn

from absl import logging

from jrt_jax.runtime.exit_codes import FAILURE
from jrt_jax.runtime.exit_codes import INTERRUPTED
from jrt_jax.runtime.exit_codes import MISTAKE
from jrt_jax.runtime.exit_codes import UNREAD

# How XLA, CUDA, the C++ library and the system report that memory ran out.
_NO_MEMORY = re.compile(
    'RESOURCE_EXHAUSTED|out of memory|OUT_OF_MEMORY|bad_alloc'
    '|(failed to|cannot|unable to) allocate',
    re.IGNORECASE,
)
_LONGEST_REASON = 200  # characters; XLA goes on with lists of buffers


@contextlib.contextmanager
def one_line_errors(*, out_of_memory: str | None = None) -> Iterator[None]:
  """Turns errors about the arguments into one line and exit code 2.

  Args:
    out_of_memory: what to do if memory runs out. If it is given, this becomes
      one line as well, with exit code 1.
  """
  try:
    if out_of_memory is None:
      yield
    else:
      with one_line_failures(advice=out_of_memory):
        yield
  except BrokenPipeError:  # the reader, such as `head`, has closed it
    # At exit, Python would try to write the rest.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(UNREAD)
  except (ValueError, OSError, NotImplementedError) as error:
    end(MISTAKE, error)


@contextlib.contextmanager
def one_line_failures(
    *expected: type[Exception],
    advice: str = (
        'lower config.microbatch_per_device or set config.model.remat=full'
    ),
) -> Iterator[None]:
  """Ends the program with one line on `expected` errors and out of memory.

  Args:
    *expected: classes of errors whose messages are shown as they are.
    advice: what to do if memory runs out.
  """
  try:
    yield
  except expected as error:
    end(FAILURE, error)
  except (MemoryError, OSError, RuntimeError) as error:  # the last is jax's
    if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
      raise
    reason = ' '.join((str(error) or repr(error)).split())
    end(FAILURE, f'out of memory: {advice} ({reason[:_LONGEST_REASON]})')


def end(code: int, error: object) -> NoReturn:
  """Ends the program with an exit code and a message."""
  logging.debug('error', exc_info=True)  # --verbosity=1 shows it
  first, *rest = (str(error).strip() or repr(error)).splitlines()
  print('\n'.join([f'error: {first}', *rest]), file=sys.stderr)
  sys.exit(code)


def shorten(record: python_logging.LogRecord) -> bool:
  """Filters log messages: one line in place of a traceback."""
  if not record.exc_info:
    return True
  logging.debug('error', exc_info=record.exc_info)  # --verbosity=1 shows it
  reason = ' '.join(str(record.exc_info[1]).split())
  print(f'warning: {record.getMessage()}: {reason}', file=sys.stderr)
  return False


def _tell_interrupt(kind, error, trace):
  """Prints one line after Ctrl-C; passes other errors on."""
  if not issubclass(kind, KeyboardInterrupt):
    return _tell_error(kind, error, trace)
  print('\ninterrupted', file=sys.stderr)
  sys.exit(INTERRUPTED)


_tell_error, sys.excepthook = sys.excepthook, _tell_interrupt
