"""Makes all processes of a run fail together, with one message."""

from collections.abc import Iterator
import contextlib
import itertools
import json
import os
import re
import sys
import traceback

from absl import logging
import jax

from jrt_jax.runtime import distributed
from jrt_jax.runtime import exit_codes
from jrt_jax.runtime import lost_peer

_PATIENCE = 20  # seconds that a process with an error waits for the others
# Messages of broken collectives and of a lost coordinator: a status of XLA, and
# the component that reports it.
_LOST = re.compile(
    '[A-Z_]+: (?is:.*(gloo|nccl|coordination.?service|heartbeat))'
)
_blocks = itertools.count()


@contextlib.contextmanager
def shared(
    *kinds: type[Exception], exit_code: int = exit_codes.MISTAKE
) -> Iterator[None]:
  """Ends every process if one has an error in the block, with one message.

  All processes wait for each other at the end of the block. If some had an
  error, process 0 raises the one of the lowest process, and the others exit
  silently. If a process has an error and the others do not arrive, it raises
  the error after some seconds.

  Args:
    kinds: types of errors; default: `distributed.MISTAKES`.
    exit_code: the exit code of the processes that exit silently.
  """
  kinds, own = kinds or distributed.MISTAKES, None
  key = f'jrt_jax/errors/{next(_blocks)}'
  try:
    yield
  except kinds as error:
    if not jax.distributed.is_initialized():
      raise
    if _is_lost_peer(error):  # the other process is gone
      _leave(error)
    own = error
  if jax.distributed.is_initialized():
    _meet(key, own, kinds, exit_code)


@contextlib.contextmanager
def together() -> Iterator[None]:
  """Ends a process at once if it fails, so that the others notice.

  Otherwise Python would wait for the others at its exit, while they wait for
  this process. Without a failure, or after a signal to all of them, processes
  disconnect in order.
  """
  try:
    yield
  except BaseException as error:  # pylint: disable=broad-except
    if not jax.distributed.is_initialized():
      raise
    if not _is_agreed(error):
      _leave(error)
    distributed.shutdown()
    raise
  distributed.shutdown()


def _meet(key, own, kinds, exit_code):
  """Returns if no process has an error; `own` is that of this one, or None."""
  process = distributed.process_id()
  packed = own and distributed.pack_error(own, kinds)
  seconds = _PATIENCE if own else distributed.LONG
  try:
    texts = distributed.gather(key, json.dumps(packed), seconds)
  except jax.errors.JaxRuntimeError:
    if own is None:
      raise
    # Some are busy; they will notice that this process is gone.
    raise _labelled(process, packed, kinds) from own
  errors = {k: json.loads(text) for k, text in enumerate(texts)}
  errors = {k: error for k, error in errors.items() if error}
  if not errors:
    return
  distributed.shutdown()
  if process:
    sys.exit(exit_code)
  first = min(errors)
  raise _labelled(first, errors[first], kinds) from own


def _labelled(process, packed, kinds):
  name, message = packed
  label = f'process {process}: ' if process else ''
  return distributed.unpack_error([name, label + message], kinds)


def _is_agreed(error):
  """Whether all processes end like this: without an error, or by a signal."""
  code = getattr(error, 'code', exit_codes.FAILURE)
  return isinstance(error, SystemExit) and (not code or code >= 128)


def _is_lost_peer(error):
  kinds = (ValueError, jax.errors.JaxRuntimeError)  # of a broken collective
  return isinstance(error, kinds) and _LOST.match(str(error))


def _leave(error):
  """Ends the process at once with all threads; prints what Python would."""
  code = exit_codes.FAILURE
  if isinstance(error, SystemExit):
    code = error.code  # its line has been printed
  elif isinstance(error, KeyboardInterrupt):
    code = exit_codes.INTERRUPTED
  elif _is_lost_peer(error):
    logging.debug('error', exc_info=True)  # --verbosity=1 shows it
    sys.stdout.flush()
    reason = ' '.join(str(error).split())
    lost_peer.leave(distributed.process_id(), reason)
  else:
    traceback.print_exception(error)
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)
