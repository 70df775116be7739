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
      type=int,
      help='number of processes; default: one for each GPU, or one',
  )
  parser.add_argument(
      '--devices_per_process',
      type=int,
      default=1,
      help='GPUs of each process, or virtual CPU devices; default: 1',
  )


def run(arguments: argparse.Namespace, runs: list[Run]) -> int:
  """Starts the processes, waits for them, and returns the exit code.

  The runs of a sweep follow each other, and a table compares them. If some
  fail, the exit code is that of the first.

  Raises:
    ValueError: there are too few GPUs.
  """
  gpus, each = count_gpus(), arguments.devices_per_process
  processes = arguments.processes
  if processes is None:
    processes = max(gpus // max(each, 1), 1)
  _check(processes, each, gpus)
  virtual = each > 1 and not gpus
  environment = {'JAX_NUM_CPU_DEVICES': str(each)} if virtual else {}
  settings = [f'{name}={value}' for name, value in environment.items()]
  codes = []
  for k, one in enumerate(runs, 1):
    commands = _commands(one, processes, each * bool(gpus))
    if arguments.dry_run:
      print('\n'.join(shlex.join(settings + command) for command in commands))
      continue
    if len(runs) > 1:
      print(f'run {k} of {len(runs)}: {one.workdir}', flush=True)
    codes.append(supervisor.run(commands, environment))
    if codes[-1] in _STOPPED:
      return codes[-1]
  if len(runs) > 1:
    _compare(arguments, [x.workdir for x, code in zip(runs, codes) if code])
  return next(filter(None, codes), 0)


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


def _check(processes, each, gpus):
  for name, value in ('processes', processes), ('devices_per_process', each):
    if value < 1:
      raise ValueError(f'--{name} must be positive, got {value}')
  if gpus and processes * each > gpus:
    raise ValueError(
        f'--processes={processes} with --devices_per_process={each} need'
        f' {processes * each} GPUs, but this machine has {gpus}'
    )


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


def _compare(arguments, failed):
  """Prints a table of the runs of a sweep, and which of them failed."""
  command = submission.comparison(arguments.workdir)
  if arguments.dry_run:
    print(shlex.join(command))
    return
  subprocess.run(command)
  for workdir in failed:
    print(f'error: the run in {workdir} failed', file=sys.stderr)


def _free_port():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return free.getsockname()[1]
