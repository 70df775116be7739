"""Runs cases in processes that may fail or hang, and writes their rows."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from pallas_kernels.benchmarks.case import Case
from pallas_kernels.benchmarks.case import Settings

STARTUP = 60.0  # additional seconds for the first row of a process
GRACE = 40.0  # seconds that a row may continue after the budget is used up

UNFINISHED = 'skipped', 'waits'  # rows with these keys are measured again

_WORKER = sys.executable, '-m', 'pallas_kernels.benchmarks.worker'


def run(
    settings: Settings,
    step: str,
    cases: Sequence[Case],
    *,
    until: float,
    end: float,
    report: Callable[[Mapping[str, Any]], None],
    worker: Sequence[str] = _WORKER,
) -> None:
  """Measures the missing rows of a step.

  Args:
    settings: its folder receives the rows.
    step: the step of the cases.
    cases: the cases, in the order in which they run.
    until: no row is started after this time, in seconds of the epoch.
    end: a running row is ended some time after this, too.
    report: called with each row after it was written.
    worker: the command that measures rows.
  """
  pending = remaining(settings, step, cases)
  while pending and time.time() < until:
    process = pending[0].process
    group = itertools.takewhile(lambda case: case.process == process, pending)
    done = set()
    for row in _rows(settings, step, list(group), until, end + GRACE, worker):
      settings.folder.add(step, row)
      report(row)
      done.add(row['name'])
    pending = [case for case in pending if case.name not in done]


def remaining(
    settings: Settings, step: str, cases: Sequence[Case]
) -> list[Case]:
  """Cases without a finished row."""
  rows = settings.folder.rows(step)
  return [
      case
      for case in cases
      if not rows.get(case.name, {'waits': ''}).keys().isdisjoint(UNFINISHED)
  ]


def ask(
    settings: Settings, worker: Sequence[str] = _WORKER
) -> Mapping[str, Any]:
  """Describes the machine, in another process: this one opens no device.

  Raises:
    OSError: jax could not start.
  """
  case = Case('machine', dict)
  end = time.time() + case.limit + STARTUP
  rows = list(_rows(settings, case.name, [case], end, end + GRACE, worker))
  if not rows or 'error' in rows[0]:
    reason = rows[0]['error'] if rows else 'it said nothing'
    raise OSError(f'jax could not start ({reason}); see {_log(settings)}')
  return rows[0]


def _rows(settings, step, cases, until, kill_at, worker):
  """Yields rows of one process until it ends or must be ended."""
  command = [*worker, f'--out={settings.folder.path}', f'--until={until}']
  command += ['--rehearse'] * settings.rehearse
  environment = dict(os.environ)
  if settings.rehearse:
    environment['JAX_PLATFORMS'] = 'cpu'
  with _log(settings).open('a') as log:
    process = subprocess.Popen(
        [*command, '--', step, *(case.name for case in cases)],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment,
        start_new_session=True,  # so that its children can be ended as well
    )
  lines = queue.SimpleQueue()
  reader = threading.Thread(target=_read, args=(process.stdout, lines))
  reader.start()
  try:
    yield from _follow(process, lines, cases, kill_at)
  finally:
    with contextlib.suppress(ProcessLookupError):
      # SIGKILL, because a process with a hanging kernel ignores other signals.
      os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    reader.join()


def _follow(process, lines, cases, kill_at):
  limits = {case.name: case.limit for case in cases}
  # The current or the first row; None between rows.
  name, begun = cases[0].name, False
  hangs_at = time.time() + STARTUP + limits[name]
  while True:
    timeout = min(hangs_at, kill_at) - time.time()
    try:
      line = lines.get(timeout=max(timeout, 0.0))
    except queue.Empty:
      if hangs_at < kill_at and name:
        reason = f'no result after {limits[name]:.0f} seconds'
        yield {'name': name, 'error': reason}
      return
    if line is None:
      code = process.wait()
      if name and (code or begun):
        yield {'name': name, 'error': f'the process ended with code {code}'}
      return
    message = json.loads(line)
    if 'begin' in message:
      name, begun = message['begin'], True
      hangs_at = max(hangs_at, time.time() + limits[name])
    else:
      yield message['row']
      name, begun = None, False
      hangs_at = time.time() + STARTUP


def _read(stream, lines):
  for line in stream:
    lines.put(line)
  lines.put(None)


def _log(settings):
  return settings.folder.path / 'log.txt'
