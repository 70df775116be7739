"""Submits a run as a SLURM job with one process for each GPU.

The job file is written into the workdir. Two minutes before the time limit the
processes get SIGTERM: they save and exit with 143, and the job is requeued and
continues the run. So is a job that is stuck. The runs of a sweep are the tasks of
a job array.
"""

import argparse
from collections.abc import Mapping, Sequence
import os
import pathlib
import re
import shlex
import subprocess
import sys

from launch import submission
from launch.runs import Run

# Options whose values are appended, so that the project stays mounted.
_LISTS = ('container-mounts',)

_JOB = """\
#!/bin/bash
{options}

cd {directory} || exit
{setup}
{exports}
{runs}
# Without "B:" in --signal, SIGTERM goes to the processes that srun starts and
# not to this script, which then requeues the job.
code=0
{srun} \\
  {command} || code=$?
# 128 + SIGTERM: the run is saved. 200: it is stuck, and continues elsewhere.
if [ "$code" -eq 143 ] || [ "$code" -eq 200 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this launcher."""
  submission.add_size(parser)
  parser.add_argument(
      '--cpus_per_gpu',
      type=submission.positive,
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


def run(arguments: argparse.Namespace, runs: list[Run]) -> int:
  """Writes the job file and submits it; returns the exit code.

  Raises:
    ValueError: an option cannot be right.
    OSError: the file cannot be written, or there is no sbatch.
  """
  path = str(pathlib.Path(arguments.workdir, 'job.sbatch'))
  return submission.submit(
      {path: job(arguments, runs)},
      [['sbatch', path]],
      dry_run=arguments.dry_run,
      advice='submit from a login node of the cluster',
  )


def job(arguments: argparse.Namespace, runs: list[Run]) -> str:
  """Returns the job file.

  Raises:
    ValueError: an option cannot be right.
  """
  python = 'python' if arguments.container else arguments.python
  own = '"${run[@]}"' if len(runs) > 1 else ''
  text = _JOB.format(
      options='\n'.join(
          f'#SBATCH {option}'
          for option in _options(_sbatch(arguments, len(runs)))
      ),
      directory=shlex.quote(os.getcwd()),
      setup='\n'.join(arguments.setup),
      exports='\n'.join(
          f'export {name}="${{{name}:-{value}}}"'
          for name, value in submission.ENVIRONMENT.items()
      ),
      runs=_runs(runs),
      srun=' '.join(['srun', *_options(_srun(arguments))]),
      command=runs[0].shell(python, '--cluster=slurm', own=own),
  )
  _check_bash(text)
  return text


def _runs(runs):
  """Bash that chooses the run of this task of a job array; '' without one."""
  if len(runs) == 1:
    return ''
  cases = [f'  {k}) run=({shlex.join(x.own)}) ;;' for k, x in enumerate(runs)]
  return '\n'.join(['', 'case "$SLURM_ARRAY_TASK_ID" in', *cases, 'esac', ''])


def _sbatch(arguments, size):
  name = 'slurm-%j.log' if size == 1 else 'slurm-%A_%a.log'
  log = pathlib.Path(os.getcwd(), arguments.workdir, name)
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
  if size > 1:
    options['array'] = f'0-{size - 1}'
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
    mounts = [f'{folder}:{folder}' for folder in _mounted(arguments.workdir)]
    options |= {
        'container-image': arguments.container,
        'container-mounts': ','.join(mounts),
        'container-workdir': pathlib.Path.cwd(),
    }
  return _changed('srun', options, arguments)


def _mounted(workdir):
  """Returns the folders that a container has: this one, and the workdir.

  What is written must outlive the container: if the path of the workdir has
  links, where they lead is mounted as well.
  """
  here = pathlib.Path.cwd()
  written = here / workdir
  folders = [x for x in (written, written.resolve()) if '..' not in x.parts]
  others = [x for x in folders if not x.is_relative_to(here)]
  return list(dict.fromkeys([here, *others]))


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
