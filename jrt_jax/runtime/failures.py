"""How the processes of a run fail: all of them, and with one message."""

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
# Of broken collectives and a lost coordinator: a status of XLA's, and who says.
_LOST = re.compile(
    '[A-Z_]+: (?is:.*(gloo|nccl|coordination.?service|heartbeat))'
)
_blocks = itertools.count()


@contextlib.contextmanager
def shared(
    *kinds: type[Exception], exit_code: int = exit_codes.MISTAKE
) -> Iterator[None]:
  """Errors within the block end every process, and are told once.

  All processes meet at the end of the block. If one had an error, process 0
  raises its own or the first, and the others exit without a word. A process
  that has an error while others do not come raises it after some seconds.

  Args:
    kinds: of errors; by default those that tell of mistakes.
    exit_code: of the processes that say nothing.
  """
  kinds, own = kinds or distributed.MISTAKES, None
  key = f'jrt_jax/errors/{next(_blocks)}'
  try:
    yield
  except kinds as error:
    if not jax.distributed.is_initialized():
      raise
    if _is_lost_peer(error):  # there is nobody to meet
      _leave(error)
    own = error
  if jax.distributed.is_initialized():
    _meet(key, own, kinds, exit_code)


@contextlib.contextmanager
def together() -> Iterator[None]:
  """Ends a process that fails at once, so that the others can see it.

  Python would first wait for them at its exit, while they wait for this one.
  Without a failure, or after a signal that all have heeded, they part in order.
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
  """Returns if no process has an error; `own` is this one's, or None."""
  process = distributed.process_id()
  packed = own and distributed.pack_error(own, kinds)
  seconds = _PATIENCE if own else distributed.LONG
  try:
    texts = distributed.gather(key, json.dumps(packed), seconds)
  except jax.errors.JaxRuntimeError:
    if own is None:
      raise
    # Some are busy, and will find this one dead.
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
  """Whether all processes end in this way: without an error, or by a signal."""
  code = getattr(error, 'code', exit_codes.FAILURE)
  return isinstance(error, SystemExit) and (not code or code >= 128)


def _is_lost_peer(error):
  kinds = (ValueError, jax.errors.JaxRuntimeError)  # of a broken collective
  return isinstance(error, kinds) and _LOST.match(str(error))


def _leave(error):
  """Ends the process as Python would, but at once and for all threads."""
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
