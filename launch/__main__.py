"""Starts training: python -m launch local|slurm --config=FILE [-- more flags].

`python -m launch slurm --help` lists the options; README.md explains them.
"""

import argparse
import pathlib
import shlex
import sys

from launch import local
from launch import slurm

# Modules with `add_arguments(parser)` and `run(arguments, command, flags)`.
LAUNCHERS = {'local': local, 'slurm': slurm}

COMMAND = 'jrt_jax.train'


class _Parser(argparse.ArgumentParser):

  def error(self, message):
    self.exit(2, f'error: {message}\n')


def main(argv: list[str], module: str = COMMAND) -> int:
  """Returns the exit code.

  Args:
    argv: arguments of the command line, without the program.
    module: what is started, as `python -m module`; it must know the flags of
      `jrt_jax.train` that choose processes.
  """
  argv, flags = _split(argv)
  try:
    arguments = _parse(argv, module)
    return LAUNCHERS[arguments.launcher].run(arguments, module, flags)
  except (ValueError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 2


def _split(argv):
  """Parts the arguments at the first --."""
  at = argv.index('--') if '--' in argv else len(argv)
  return argv[:at], argv[at + 1 :]


def _parse(argv, module):
  parser = _Parser(prog='python -m launch', description=__doc__)
  parsers = parser.add_subparsers(
      dest='launcher', required=True, parser_class=_Parser
  )
  for name, launcher in LAUNCHERS.items():
    sub = parsers.add_parser(
        name,
        description=launcher.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    sub.add_argument('--config', required=True, help='a file of configs/')
    sub.add_argument('--workdir', help='default: runs/ and the config')
    sub.add_argument(
        '--dry_run', action='store_true', help='print what would be done only'
    )
    launcher.add_arguments(sub)
  arguments, unknown = parser.parse_known_args(argv)
  if unknown:
    raise ValueError(
        f'unrecognized arguments: {shlex.join(unknown)} (flags of {module} must'
        ' follow " -- ")'
    )
  path, _, choice = arguments.config.partition(':')
  file = pathlib.Path(path)
  if not file.is_file():
    raise ValueError(f'--config must be a file, got {str(file)!r}')
  default = pathlib.Path('runs', file.stem, choice)
  arguments.workdir = arguments.workdir or str(default)
  return arguments


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
