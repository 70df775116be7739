"""Submits a run as a SLURM job with one process for each GPU.

The job file is written into the workdir. Two minutes before the time limit the
processes get SIGTERM: they save and exit with 143, and the job is requeued and
continues the run.
"""

import argparse
from collections.abc import Mapping, Sequence
import os
import pathlib
import re
import shlex
import subprocess
import sys

# Variables that are already set are kept; README.md has the reasons.
_ENVIRONMENT = {'NCCL_DEBUG': 'WARN', 'XLA_PYTHON_CLIENT_MEM_FRACTION': '0.9'}

# Options whose values are appended, so that the project stays mounted.
_LISTS = ('container-mounts',)

_JOB = """\
#!/bin/bash
{options}

cd {directory} || exit
{setup}
{exports}

# Without "B:" in --signal, SIGTERM goes to the processes that srun starts and
# not to this script, which then requeues the job.
code=0
{srun} \\
  {command} || code=$?
if [ "$code" -eq 143 ]; then  # 128 + SIGTERM: the run is saved
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this launcher."""
  parser.add_argument(
      '--nodes', type=int, default=1, help='number of nodes; default: 1'
  )
  parser.add_argument(
      '--gpus_per_node', type=int, default=8, help='GPUs of a node; default: 8'
  )
  parser.add_argument(
      '--cpus_per_gpu',
      type=int,
      default=8,
      help='cores of each process; default: 8',
  )
  for name in 'time', 'partition', 'account', 'qos':
    parser.add_argument(f'--{name}', help='as in sbatch')
  parser.add_argument(
      '--setup',
      action='append',
      default=[],
      help='a line of bash before training, such as "module load cuda"',
  )
  parser.add_argument(
      '--python',
      default=sys.executable,
      help='the interpreter; default: the one that runs this',
  )
  parser.add_argument(
      '--container', help='an image to run in, started with Pyxis'
  )
  for name in 'sbatch', 'srun':
    parser.add_argument(
        f'--{name}',
        action='append',
        default=[],
        metavar='KEY[=VALUE]',
        help=f'an option of {name} to add or to change',
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
    OSError: the file cannot be written, or there is no sbatch.
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
        'sbatch is not on the PATH: submit from a login node of the cluster'
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
      'open-mode': 'append',  # a requeued job continues its log
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
      'cpus-per-task': arguments.cpus_per_gpu,  # srun ignores that of sbatch
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
  """Returns options with the changes of --NAME and --no_NAME.

  An added option is KEY=VALUE or KEY, whose value is None. KEY may start with
  --.
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
  """Raises ValueError unless bash can parse the job; only --setup can fail."""
  checked = subprocess.run(
      ['bash', '-n'], input=text, text=True, capture_output=True
  )
  if checked.returncode:
    reason = checked.stderr.splitlines()[0]
    raise ValueError(f'--setup must be valid bash, got an error: {reason}')
