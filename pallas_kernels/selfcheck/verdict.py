"""Kernels or chunks: what a process found, in time and without contradiction.

This process never opens a device. Whatever goes wrong there means `chunked`,
with a reason of one line.
"""

from collections.abc import Iterator, Mapping, Sequence
import datetime
import os
import pathlib
import sys
from typing import Any, NamedTuple

import pallas_kernels
from pallas_kernels.benchmarks import machine
from pallas_kernels.selfcheck import cache
from pallas_kernels.selfcheck import checks
from pallas_kernels.selfcheck import process

LIMIT = 120.0  # seconds; compiling takes most of them

_WORKER = sys.executable, '-P', '-m', 'pallas_kernels.selfcheck.worker'


class Verdict(NamedTuple):
  """What may run for heads of V values.

  Attributes:
    V: the width of values.
    reason: why not the kernels, in one line; None if they may run.
    report: what the process has found; None if it has not come so far.
    date: of an earlier day's verdict, or None.
  """

  V: int
  reason: str | None
  report: Mapping[str, Any] | None = None
  date: str | None = None

  @property
  def implementation(self) -> str:
    return checks.KERNELS if self.reason is None else checks.FALLBACK


def decide(
    widths: Sequence[int],
    *,
    force: bool = False,
    keep: bool = True,
    limit: float = LIMIT,
    worker: Sequence[str] = _WORKER,
) -> Iterator[Verdict]:
  """Decides for each width of values, on the first device of this machine.

  Yields each verdict as it is found.

  Args:
    widths: of values; each has a process and a time limit of its own.
    force: whether to run even what has been decided before.
    keep: whether verdicts are read from the user's cache and kept there.
    limit: seconds that each process may take.
    worker: the command that is asked.
  """

  def ask(question, *more):
    command = [*worker, question, f'--limit={limit}', *more]
    return process.ask(command, limit=limit, environment=_environment())

  try:
    about = ask('about')
    reason = machine.unfit(about)
  except process.Failed as error:
    reason = f'the device could not be described: {error}'
  except (KeyError, TypeError):
    reason = 'the device could not be described: something is missing'
  for V in widths:
    if reason:
      yield Verdict(V, process.one_line(reason))
    else:
      yield _decide(V, about, ask, force=force, keep=keep)


def _decide(V, about, ask, *, force, keep):
  key = {'about': about, 'V': V, 'source': cache.source_digest()}
  if keep and not force and (known := _known(cache.load(key), about, V)):
    return known
  report = None
  try:
    report = ask('check', f'--V={V}')
    reason = checks.find_fault(report, about, V)
  except process.Failed as error:
    reason = str(error)
  if keep:
    today = datetime.date.today().isoformat()
    cache.save(key, {'reason': reason, 'report': report, 'date': today})
  return Verdict(V, reason, report)


def _known(entry, about, V):
  """The verdict that was kept, unless somebody has changed it."""
  if not entry or entry.keys() != {'reason', 'report', 'date'}:
    return None
  reason, report, date = entry['reason'], entry['report'], str(entry['date'])
  if reason is not None:
    return Verdict(V, process.one_line(str(reason)), report, date)
  if checks.find_fault(report, about, V) is not None:
    return None
  return Verdict(V, None, report, date)


def _environment():
  """Runs this very source, and leaves the device's memory to others."""
  source = pathlib.Path(pallas_kernels.__file__).parent.parent
  paths = [str(source), os.environ.get('PYTHONPATH')]
  environment = os.environ | {
      'PYTHONPATH': os.pathsep.join(filter(None, paths)),
      'XLA_PYTHON_CLIENT_PREALLOCATE': 'false',
  }
  # Only jax's own allocator gives out again what was filled with NaN.
  environment.pop('XLA_PYTHON_CLIENT_ALLOCATOR', None)
  return environment
