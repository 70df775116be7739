"""Decides between the kernels and `chunked`, from the report of a process.

This process itself never opens a device. If anything goes wrong in the other
process, the answer is `chunked`, with a reason of one line.
"""

from collections.abc import Iterator, Mapping, Sequence
import os
import pathlib
import sys
from typing import Any, NamedTuple

import pallas_kernels
from pallas_kernels.benchmarks import machine
from pallas_kernels.selfcheck import process

# In seconds; compilation takes most of them.
LIMIT = 600.0

_WORKER = sys.executable, '-P', '-m', 'pallas_kernels.selfcheck.worker'


class Verdict(NamedTuple):
  """The implementation to use for heads of V values.

  Attributes:
    V: the width of values.
    reason: why the kernels may not run, in one line; None if they may.
    report: the report of the process; None if it crashed or hung.
  """

  V: int
  reason: str | None
  report: Mapping[str, Any] | None = None

  @property
  def implementation(self) -> str:
    return 'mosaic_sm90' if self.reason is None else 'chunked'


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
    widths: widths of values; each has its own process and time limit.
    limit: the most seconds of each process.
    gpu: the GPU, as in CUDA_VISIBLE_DEVICES; None: the first device.
    worker: the command of the checking process.
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
  from pallas_kernels.selfcheck import checks  # imports the kernels

  return Verdict(V, checks.find_fault(report, about, V), report)


def _environment(gpu=None):
  """Variables to run this source, without reserving the device's memory."""
  source = pathlib.Path(pallas_kernels.__file__).parent.parent
  paths = [str(source), os.environ.get('PYTHONPATH')]
  environment = os.environ | {
      'PYTHONPATH': os.pathsep.join(filter(None, paths)),
      'XLA_PYTHON_CLIENT_PREALLOCATE': 'false',
  }
  # Only jax's own allocator reuses the memory that was filled with NaN.
  environment.pop('XLA_PYTHON_CLIENT_ALLOCATOR', None)
  if gpu is not None:
    environment['CUDA_VISIBLE_DEVICES'] = gpu
    environment.pop('JAX_CUDA_VISIBLE_DEVICES', None)  # its numbers mean others
  return environment
