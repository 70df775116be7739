"""What launchers share that write files and submit them to a scheduler."""

import argparse
from collections.abc import Mapping, Sequence
import pathlib
import posixpath
import re
import shlex
import subprocess
import sys
import zlib

# Variables of training processes; README.md has the reasons.
ENVIRONMENT = {'NCCL_DEBUG': 'WARN', 'XLA_PYTHON_CLIENT_MEM_FRACTION': '0.9'}

_LONGEST_NAME = 35  # Kubernetes adds to the names of jobs, up to 63 characters


def whole(text: str) -> int:
  """The type of arguments that are whole numbers, not negative."""
  if (value := _number(text)) < 0:
    raise argparse.ArgumentTypeError(f'must not be negative, got {value}')
  return value


def positive(text: str) -> int:
  """The type of arguments that are positive whole numbers."""
  if (value := _number(text)) < 1:
    raise argparse.ArgumentTypeError(f'must be positive, got {value}')
  return value


def _number(text):
  try:
    return int(text)
  except ValueError:
    raise argparse.ArgumentTypeError(
        f'must be a whole number, got {text!r}'
    ) from None


def add_size(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments that say how large a job is."""
  for name, default, what in (
      ('nodes', 1, 'number of nodes'),
      ('gpus_per_node', 8, 'GPUs of a node'),
  ):
    parser.add_argument(
        f'--{name}',
        type=positive,
        default=default,
        help=f'{what}; default: {default}',
    )


def file(workdir: str, name: str) -> str:
  """Returns the path here of a file about a run whose workdir is elsewhere."""
  return str(pathlib.Path('runs', *_parts(workdir), name))


def job_names(workdir: str, count: int) -> list[str]:
  """Returns names for schedulers: a-z, 0-9 and -; numbered if there are many.

  A name is the path below `runs`; a long one is cut, and ends with a checksum.
  """
  path = '-'.join(_parts(workdir))
  name = re.sub('[^a-z0-9]+', '-', path.lower()).strip('-')
  name = name if name[:1].isalpha() else f'run-{name}'.strip('-')
  if len(name) > _LONGEST_NAME:
    end = f'-{zlib.crc32(path.encode()):08x}'
    name = name[: _LONGEST_NAME - len(end)].strip('-') + end
  return [name] if count == 1 else [f'{name}-{k}' for k in range(count)]


def _parts(workdir):
  """Returns the folders of a workdir, below `runs` if it is in one."""
  folders = pathlib.PurePath(posixpath.normpath(workdir)).parts
  folders = [x for x in folders if x not in ('/', '//', '..')]
  return folders[folders.index('runs') + 1 :] if 'runs' in folders else folders


def add_restarts(parser: argparse.ArgumentParser, default: int) -> None:
  """Adds --max_restarts."""
  parser.add_argument(
      '--max_restarts',
      type=whole,
      default=default,
      help='how often the run starts anew after failures, not counting nodes'
      f' that are taken away; default: {default}',
  )


def submit(
    files: Mapping[str, str],
    commands: Sequence[Sequence[str]],
    *,
    dry_run: bool,
    advice: str,
    refused: str = '',
) -> int:
  """Writes files and runs commands until one fails; returns its exit code.

  Args:
    files: the texts by their paths.
    commands: what submits the files.
    dry_run: whether the texts are printed instead, and on stderr what would be
      done with them.
    advice: where the program of the commands is found, if it is missing.
    refused: what to do if a command fails.

  Raises:
    OSError: a file cannot be written, or the program is missing.
  """
  if dry_run:
    print('---\n'.join(files.values()), end='', flush=True)
    for path in files:
      print(f'would write {path}', file=sys.stderr)
    for command in commands:
      print(f'would run: {shlex.join(command)}', file=sys.stderr)
    return 0
  for name, text in files.items():
    path = pathlib.Path(name)
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(text)
    except OSError as error:
      raise OSError(
          f'{name} must be a file that can be written: {error.strerror}'
      ) from error
  for command in commands:
    try:
      code = subprocess.run(command).returncode
    except FileNotFoundError as error:
      raise FileNotFoundError(
          f'{command[0]} is not on the PATH: {advice} ({shlex.join(command)})'
      ) from error
    if code:
      if refused:
        print(refused, file=sys.stderr)
      return code
  return 0


def comparison(workdir: str) -> list[str]:
  """Returns the command that compares the runs of a sweep in a workdir."""
  folders = f'--workdir={pathlib.Path(workdir, "*")}/'
  figure = f'--out={pathlib.Path(workdir, "curves.png")}'
  return [sys.executable, '-m', 'jrt_jax.plot', folders, figure]
