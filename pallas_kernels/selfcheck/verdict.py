"""Kernels or chunks: what a process found, in time and without contradiction.

This process never opens a device. Whatever goes wrong there means `chunked`,
with a reason of one line.
"""

from collections.abc import Iterator, Mapping, Sequence
import os
import pathlib
import sys
from typing import Any, NamedTuple

import pallas_kernels
from pallas_kernels.benchmarks import machine
from pallas_kernels.selfcheck import checks
from pallas_kernels.selfcheck import process

# Seconds. Compiling takes most of them.
LIMIT = 600.0

_WORKER = sys.executable, '-P', '-m', 'pallas_kernels.selfcheck.worker'


class Verdict(NamedTuple):
  """What may run for heads of V values.

  Attributes:
    V: the width of values.
    reason: why not the kernels, in one line; None if they may run.
    report: what the process has found; None if it crashed or hung before.
  """

  V: int
  reason: str | None
  report: Mapping[str, Any] | None = None

  @property
  def implementation(self) -> str:
    return checks.KERNELS if self.reason is None else checks.FALLBACK


def decide(
    widths: Sequence[int],
    *,
    limit: float = LIMIT,
    gpu: str | None = None,
    worker: Sequence[str] = _WORKER,
) -> Iterator[Verdict]:
  """Decides for each width of values, on one device of this machine.

  Yields each verdict as it is found.

  Args:
    widths: of values; each has a process and a time limit of its own.
    limit: seconds that each process may take.
    gpu: which one, as in CUDA_VISIBLE_DEVICES; None: the first device.
    worker: the command that is asked.
  """

  def ask(question, *more):
    command = [*worker, question, f'--limit={limit}', *more]
    return process.ask(command, limit=limit, environment=_environment(gpu))

  about = None
  try:
    about = ask('about')
    reason = machine.unfit(about)
  except process.Failed as error:
    reason = f'the device could not be described: {error}'
  except (KeyError, TypeError):
    reason = 'the device could not be described: something is missing'
  for V in widths:
    if reason:
      yield Verdict(V, process.one_line(reason), about)
    else:
      yield _decide(V, about, ask)


def _decide(V, about, ask):
  try:
    report = ask('check', f'--V={V}')
  except process.Failed as error:
    return Verdict(V, str(error))
  return Verdict(V, checks.find_fault(report, about, V), report)


def _environment(gpu=None):
  """Runs this very source, and leaves the device's memory to others."""
  source = pathlib.Path(pallas_kernels.__file__).parent.parent
  paths = [str(source), os.environ.get('PYTHONPATH')]
  environment = os.environ | {
      'PYTHONPATH': os.pathsep.join(filter(None, paths)),
      'XLA_PYTHON_CLIENT_PREALLOCATE': 'false',
  }
  # Only jax's own allocator gives out again what was filled with NaN.
  environment.pop('XLA_PYTHON_CLIENT_ALLOCATOR', None)
  if gpu is not None:
    environment['CUDA_VISIBLE_DEVICES'] = gpu
    environment.pop('JAX_CUDA_VISIBLE_DEVICES', None)  # it counts other ones
  return environment
