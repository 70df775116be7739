"""Submits a run as a SLURM job: one process for each GPU.

The job file is written into the workdir. Two minutes before the time limit the
processes get SIGTERM; they save and exit with 143, and the job is requeued,
where the same command continues.
"""

import argparse
from collections.abc import Mapping, Sequence
import os
import pathlib
import re
import shlex
import subprocess
import sys

# What is set already stays as it is; README.md has the reasons.
_ENVIRONMENT = {'NCCL_DEBUG': 'WARN', 'XLA_PYTHON_CLIENT_MEM_FRACTION': '0.9'}

# Options whose values add up: a further mount leaves the project mounted.
_LISTS = ('container-mounts',)

_JOB = """\
#!/bin/bash
{options}

cd {directory} || exit
{setup}
{exports}

# Without "B:" in --signal, SIGTERM comes to the processes that srun starts and
# not to this script, which lives on to requeue the job.
code=0
{srun} \\
  {command} || code=$?
if [ "$code" -eq 143 ]; then  # 128 + SIGTERM: the run is saved
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds what only this launcher knows."""
  parser.add_argument('--nodes', type=int, default=1, help='default: 1')
  parser.add_argument('--gpus_per_node', type=int, default=8, help='default: 8')
  parser.add_argument(
      '--cpus_per_gpu', type=int, default=8, help='cores; default: 8'
  )
  for name in 'time', 'partition', 'account', 'qos':
    parser.add_argument(f'--{name}', help="SLURM's own")
  parser.add_argument(
      '--setup',
      action='append',
      default=[],
      help='a line of bash before training, such as "module load cuda"',
  )
  parser.add_argument(
      '--python', default=sys.executable, help='default: the present one'
  )
  parser.add_argument('--container', help='an image, started with Pyxis')
  for name in 'sbatch', 'srun':
    parser.add_argument(
        f'--{name}',
        action='append',
        default=[],
        metavar='KEY[=VALUE]',
        help=f'another option of {name}, or another value of one of ours',
    )
    parser.add_argument(
        f'--no_{name}',
        action='append',
        default=[],
        metavar='KEY',
        help=f'an option of {name} to leave out',
    )


def run(arguments: argparse.Namespace, module: str, flags: list[str]) -> int:
  """Writes the job file and submits it; returns the exit code.

  Raises:
    ValueError: an option cannot be right.
    OSError: the file cannot be written, or sbatch is not here.
  """
  text = job(arguments, module, flags)
  if arguments.dry_run:
    print(text, end='')
    return 0
  path = pathlib.Path(arguments.workdir, 'job.sbatch')
  path.parent.mkdir(parents=True, exist_ok=True)  # for the log, too
  path.write_text(text)
  try:
    return subprocess.run(['sbatch', str(path)]).returncode
  except FileNotFoundError as error:
    raise FileNotFoundError(
        'sbatch is not on the PATH: submit on a login node of the cluster'
        f' (sbatch {shlex.quote(str(path))})'
    ) from error


def job(arguments: argparse.Namespace, module: str, flags: list[str]) -> str:
  """Returns the job file.

  Raises:
    ValueError: an option cannot be right.
  """
  for name in 'nodes', 'gpus_per_node', 'cpus_per_gpu':
    if getattr(arguments, name) < 1:
      raise ValueError(
          f'--{name} must be positive, got {vars(arguments)[name]}'
      )
  python = 'python' if arguments.container else arguments.python
  command = [
      shlex.join([python, '-m', module]),
      *_options(arguments.run),
      *('--cluster=slurm', *map(shlex.quote, flags)),
  ]
  text = _JOB.format(
      options='\n'.join(
          f'#SBATCH {option}' for option in _options(_sbatch(arguments))
      ),
      directory=shlex.quote(os.getcwd()),
      setup='\n'.join(arguments.setup),
      exports='\n'.join(
          f'export {name}="${{{name}:-{value}}}"'
          for name, value in _ENVIRONMENT.items()
      ),
      srun=' '.join(['srun', *_options(_srun(arguments))]),
      command=' \\\n  '.join(command),
  )
  _check_bash(text)
  return text


def _sbatch(arguments):
  log = pathlib.Path(os.getcwd(), arguments.workdir, 'slurm-%j.log')
  options = {
      'job-name': pathlib.Path(arguments.workdir).name,
      'nodes': arguments.nodes,
      'ntasks-per-node': arguments.gpus_per_node,
      'gpus-per-node': arguments.gpus_per_node,
      'cpus-per-task': arguments.cpus_per_gpu,
      'output': log,
      'open-mode': 'append',  # a requeued job goes on in its log
      'requeue': None,
      'signal': 'TERM@120',
  }
  for name in 'time', 'partition', 'account', 'qos':
    if value := vars(arguments)[name]:
      options[name] = value
  return _changed('sbatch', options, arguments)


def _srun(arguments):
  options = {
      'kill-on-bad-exit': 1,
      'cpus-per-task': arguments.cpus_per_gpu,  # srun does not take sbatch's
      'cpu-bind': 'cores',
  }
  if arguments.container:
    here = os.getcwd()
    options |= {
        'container-image': arguments.container,
        'container-mounts': f'{here}:{here}',
        'container-workdir': here,
    }
  return _changed('srun', options, arguments)


def _changed(name, options, arguments):
  """Options without those that are left out, with those that are added.

  What is added is KEY=VALUE, or KEY alone, which has the value None. A KEY may
  begin with --, as SLURM has it.
  """
  for key in vars(arguments)[f'no_{name}']:
    key = key.removeprefix('--')
    if key not in options:
      raise ValueError(
          f'--no_{name} must be one of {", ".join(options)}, got {key!r}'
      )
    del options[key]
  for pair in vars(arguments)[name]:
    key, equals, value = pair.removeprefix('--').partition('=')
    if not re.fullmatch('[a-z][a-z0-9-]*', key):
      raise ValueError(f'--{name} must be KEY or KEY=VALUE, got {pair!r}')
    if key in _LISTS and key in options:
      value = f'{options[key]},{value}'
    options[key] = value if equals else None
  return options


def _options(options: Mapping[str, object]) -> Sequence[str]:
  return [
      f'--{key}' if value is None else f'--{key}={_quote(value)}'
      for key, value in options.items()
  ]


def _quote(value):
  if '\n' in str(value):
    raise ValueError(f'an option of SLURM must be one line, got {value!r}')
  return shlex.quote(str(value))


def _check_bash(text):
  """Refuses what bash cannot read; only --setup is put in as it is."""
  checked = subprocess.run(
      ['bash', '-n'], input=text, text=True, capture_output=True
  )
  if checked.returncode:
    reason = checked.stderr.splitlines()[0]
    raise ValueError(f'--setup must be bash, got what it cannot read: {reason}')
