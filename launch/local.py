"""Starts the processes of a run on this machine, one for each GPU.

Lines that the first process prints are shown unchanged, those of other
processes with their number. Ctrl-C and SIGTERM are passed on to all processes;
a second one ends them within seconds. If one process fails, the others are
ended.
"""

import argparse
import os
import re
import shlex
import signal
import socket
import subprocess
import sys

from launch import submission
from launch import supervisor
from launch.runs import Run

# Exit codes of runs that were told to stop, as a sweep then is, too.
_STOPPED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this launcher."""
  parser.add_argument(
      '--processes',
      type=submission.positive,
      help='number of processes; default: one for each GPU, or one',
  )
  parser.add_argument(
      '--devices_per_process',
      type=submission.positive,
      default=1,
      help='GPUs of each process, or virtual CPU devices; default: 1',
  )


def run(arguments: argparse.Namespace, runs: list[Run]) -> int:
  """Starts the processes, waits for them, and returns the exit code.

  Raises:
    ValueError: there are too few GPUs.
  """
  gpus, each = count_gpus(), arguments.devices_per_process
  processes = arguments.processes or max(gpus // each, 1)
  if gpus and processes * each > gpus:
    raise ValueError(
        f'--processes={processes} with --devices_per_process={each} need'
        f' {processes * each} GPUs, but this machine has {gpus}'
    )
  virtual = each > 1 and not gpus
  environment = {'JAX_NUM_CPU_DEVICES': str(each)} if virtual else {}

  def commands(one):
    return _commands(one, processes, each * bool(gpus))

  if arguments.dry_run:
    settings = [f'{name}={value}' for name, value in environment.items()]
    lines = [settings + line for one in runs for line in commands(one)]
    if len(runs) > 1:
      lines.append(submission.comparison(arguments.workdir))
    print('\n'.join(map(shlex.join, lines)))
    return 0
  start = lambda one: supervisor.run(commands(one), environment)
  if len(runs) == 1:
    return start(runs[0])
  return _sweep(arguments.workdir, runs, start)


def count_gpus() -> int:
  """Returns how many GPUs of this machine may be used."""
  if not re.search('cuda|gpu', os.environ.get('JAX_PLATFORMS') or 'cuda'):
    return 0
  chosen = os.environ.get('CUDA_VISIBLE_DEVICES')
  if chosen is not None:
    return len(list(filter(None, chosen.split(','))))
  try:
    found = subprocess.run(['nvidia-smi', '-L'], capture_output=True, text=True)
  except FileNotFoundError:
    return 0
  return sum(line.startswith('GPU') for line in found.stdout.splitlines())


def _commands(run, processes, gpus_each):
  places = [
      '--cluster=flags',
      f'--coordinator=localhost:{_free_port()}',
      f'--num_processes={processes}',
  ]
  commands = []
  for k in range(processes):
    ids = range(gpus_each * k, gpus_each * (k + 1))
    chosen = [f'--local_device_ids={",".join(map(str, ids))}'] if ids else []
    own = [*places, f'--process_id={k}', *chosen]
    commands.append(run.command(sys.executable, *own))
  return commands


def _sweep(workdir, runs, start):
  """Starts runs one after another, and compares them in a table.

  Returns the exit code of the first that failed, or 0. Only a run that was told
  to stop ends the sweep.
  """
  codes = {}
  for k, one in enumerate(runs, 1):
    print(f'run {k} of {len(runs)}: {one.workdir}', flush=True)
    code = codes[one.workdir] = start(one)
    if code in _STOPPED:
      return code
  supervisor.run([submission.comparison(workdir)], {})
  failed = {folder: code for folder, code in codes.items() if code}
  for folder in failed:
    print(f'error: the run in {folder} failed', file=sys.stderr)
  return next(iter(failed.values()), 0)


def _free_port():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return free.getsockname()[1]
