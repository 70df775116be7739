"""Rows from the benchmark of whole models, which is a separate program."""

import importlib.util
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from pallas_kernels.benchmarks.case import Missing

_MODULE = 'jrt_jax.benchmark'
_PATIENCE = 10.0  # seconds


def measure(goal: str, *flags: str) -> dict[str, Any]:
  """Returns a row with the first of the 'rows' of a goal.

  It is the row of our own model. The baselines after it would take too much
  time here; the program measures them when it runs alone.

  Raises:
    Missing: the program is not installed.
    RuntimeError: it failed; the message is its own.
  """
  if importlib.util.find_spec(_MODULE) is None:
    raise Missing(f'{_MODULE} is not installed')
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'rows.json')
    command = [sys.executable, '-m', _MODULE, f'--only={goal}', *flags]
    process = subprocess.Popen([*command, f'--out={path}'], stdout=sys.stderr)
    while not (rows := _rows(path, goal)) and process.poll() is None:
      time.sleep(0.2)
    rows = rows or _rows(path, goal)
    code = _end(process)
  if not rows:
    raise RuntimeError(f'{_MODULE} ended with code {code} and no row of {goal}')
  if 'error' in rows[0]:
    raise RuntimeError(f'{_MODULE}: {rows[0]["error"]}')
  return {'command': ' '.join(['python', *command[1:]]), 'rows': rows[:1]}


def _end(process):
  """Interrupts it, so that it ends its children; returns its exit code."""
  process.send_signal(signal.SIGINT)
  try:
    return process.wait(_PATIENCE)
  except subprocess.TimeoutExpired:  # SIGINT is ignored, as after & in a shell
    process.kill()
    return process.wait()


def _rows(path, goal):
  try:
    rows = json.loads(path.read_text())['rows']
  except (OSError, ValueError):  # missing or incomplete
    return []
  return [row for row in rows if row.get('goal') == goal]
