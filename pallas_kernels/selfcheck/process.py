"""Runs a process that may crash, hang or print anything."""

from collections.abc import Mapping, Sequence
import contextlib
import json
import os
import signal
import subprocess
import tempfile
from typing import Any

_MOST_BYTES = 2**16  # the most bytes of an answer; a check has about 2,000
_MOST_CHARACTERS = 200  # the most characters of a reason


class Failed(Exception):
  """There is no answer; the message gives the reason in one line."""


def ask(
    command: Sequence[str], *, limit: float, environment: Mapping[str, str]
) -> dict[str, Any]:
  """Runs a command and returns the JSON object that it prints.

  Args:
    command: the command; it runs in its own session, which is ended as a whole.
    limit: the most seconds that it may take.

  Raises:
    Failed: the command could not be started, crashed, took longer, printed
      something else, or reported a failure.
  """
  with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as log:
    try:
      process = subprocess.Popen(
          command,
          stdin=subprocess.DEVNULL,
          stdout=output,
          stderr=log,
          env=environment,
          start_new_session=True,
      )
    except OSError as error:
      raise Failed(f'it could not be started: {error.strerror}') from None
    try:
      code = process.wait(limit)
    except subprocess.TimeoutExpired:
      raise Failed(f'there was no answer after {limit:g} seconds') from None
    finally:
      _end(process)
    if code:
      raise Failed(_ending(code, log))
    return _parse(output)


def one_line(text: str) -> str:
  """Returns a process's text as one line, safe for terminals and logs."""
  text = ' '.join(text.split())[:_MOST_CHARACTERS]
  return ''.join(c if c.isprintable() else '?' for c in text)


def _end(process):
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)
  with contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(5)  # longer only if the driver of the GPU holds it


def _ending(code, log):
  what = f'code {code}'
  if code < 0:
    what = f'signal {-code} ({signal.strsignal(-code)})'
  log.seek(max(log.seek(0, os.SEEK_END) - _MOST_BYTES, 0))
  lines = log.read().decode(errors='replace').strip().splitlines()
  said = f': {one_line(lines[-1])}' if lines else ''
  return f'the process ended with {what}{said}'


def _parse(output):
  output.seek(0)
  text = output.read(_MOST_BYTES + 1)
  if len(text) > _MOST_BYTES:
    raise Failed(f'it printed more than {_MOST_BYTES} bytes')
  try:
    answer = json.loads(text)
  except (ValueError, RecursionError):
    raise Failed('it printed something else than JSON') from None
  if not isinstance(answer, dict):
    raise Failed('it printed something else than a JSON object')
  if 'failed' in answer:
    reason = one_line(str(answer['failed']))
    raise Failed(reason or 'it failed without a reason')
  return answer
