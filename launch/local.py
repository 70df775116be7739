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
import socket
import subprocess
import sys

from launch import supervisor


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


def run(arguments: argparse.Namespace, module: str, flags: list[str]) -> int:
  """Starts the processes, waits for them, and returns the exit code.

  Raises:
    ValueError: there are too few GPUs.
  """
  gpus, each = count_gpus(), arguments.devices_per_process
  processes = arguments.processes
  if processes is None:
    processes = max(gpus // max(each, 1), 1)
  _check(processes, each, gpus)
  commands = _commands(arguments, module, flags, processes, each * bool(gpus))
  virtual = each > 1 and not gpus
  environment = {'JAX_NUM_CPU_DEVICES': str(each)} if virtual else {}
  if arguments.dry_run:
    settings = [f'{name}={value}' for name, value in environment.items()]
    print('\n'.join(shlex.join(settings + command) for command in commands))
    return 0
  return supervisor.run(commands, environment)


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


def _commands(arguments, module, flags, processes, gpus_each):
  command = [
      *(sys.executable, '-m', module),
      *(f'--{name}={value}' for name, value in arguments.run.items()),
      '--cluster=flags',
      f'--coordinator=localhost:{_free_port()}',
      f'--num_processes={processes}',
  ]
  commands = []
  for k in range(processes):
    ids = range(gpus_each * k, gpus_each * (k + 1))
    chosen = [f'--local_device_ids={",".join(map(str, ids))}'] if ids else []
    commands.append([*command, f'--process_id={k}', *chosen, *flags])
  return commands


def _free_port():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return free.getsockname()[1]
