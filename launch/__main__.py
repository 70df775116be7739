"""Starts training: python -m launch LAUNCHER --config=FILE [-- more flags].

`--from=WORKDIR` in place of `--config` starts from the config and the weights
of that run. LAUNCHER is local, slurm, kubernetes or skypilot;
`python -m launch LAUNCHER --help` lists its options, and README.md explains
them.
"""

import argparse
import pathlib
import shlex
import sys

from launch import kubernetes
from launch import local
from launch import runs
from launch import skypilot
from launch import slurm
from launch import volumes

# Modules with `add_arguments(parser)` and `run(arguments, runs)`.
LAUNCHERS = {
    'local': local,
    'slurm': slurm,
    'kubernetes': kubernetes,
    'skypilot': skypilot,
}

COMMAND = 'jrt_jax.train'

_ROOT = pathlib.Path(__file__).parents[1]  # has `configs` and `jrt_jax`
_BUILTIN = _ROOT / 'jrt_jax' / 'builtin'


class _Parser(argparse.ArgumentParser):

  def error(self, message):
    raise ValueError(message)


def main(argv: list[str], module: str = COMMAND) -> int:
  """Runs the command line and returns the exit code.

  Args:
    argv: arguments of the command line, without the program.
    module: the module to start with `python -m`; it must accept the flags of
      `jrt_jax.train` that describe processes.
  """
  argv, flags = _split(argv)
  try:
    arguments = _parse(argv, module)
    origin, arguments.workdir = _origin(arguments)
    run = runs.Run(module, origin, arguments.workdir, flags)
    found = runs.of_sweep(run, arguments.sweep)
    return LAUNCHERS[arguments.launcher].run(arguments, found)
  except (ValueError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 2


def _split(argv):
  """Splits the arguments at the first --."""
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
    _add_origin(sub)
    sub.add_argument(
        '--dry_run',
        action='store_true',
        help='only print what would be started',
    )
    launcher.add_arguments(sub)
  arguments, unknown = parser.parse_known_args(argv)
  if unknown:
    raise ValueError(
        f'unrecognized arguments: {shlex.join(unknown)} (flags of {module} must'
        ' come after " -- ")'
    )
  return arguments


def _add_origin(parser):
  origin = parser.add_mutually_exclusive_group(required=True)
  origin.add_argument(
      '--config', help='a file of configs/, or the config.json of a run'
  )
  origin.add_argument(
      '--from',
      dest='source',
      metavar='WORKDIR',
      help='a run, with whose config and newest weights the new run starts',
  )
  parser.add_argument(
      '--workdir',
      help='the folder of the run; default: runs/ and the name of the config',
  )
  parser.add_argument(
      '--sweep',
      action='append',
      default=[],
      metavar='config.KEY=VALUE,VALUE…',
      help='a run for each value, in a folder of its own in the workdir; given'
      ' again, a run for each combination',
  )


def _origin(arguments):
  """Returns the flag that says where a run starts from, and the workdir."""
  path = arguments.config if arguments.source is None else arguments.source
  is_run = arguments.source is not None or path.endswith('.json')
  if 'volume' in arguments and is_run and not path.startswith('builtin:'):
    path = volumes.absolute(path, volumes.parse(arguments.volume))
  # Only the job has what is in its volumes.
  is_here = 'volume' not in arguments or not path.startswith('/')
  if arguments.source is None:
    origin, default = f'--config={path}', _default_workdir(path, is_here)
  else:
    if is_here:
      _check_source(path)
    origin, default = f'--from={path}', None
  workdir = arguments.workdir or default
  if not workdir:
    raise ValueError('--workdir must be given with the config of another run')
  return origin, workdir


def _check_source(workdir):
  kind, _, name = workdir.partition('builtin:')
  folder = pathlib.Path(workdir) if kind or not name else _BUILTIN / name
  if not (folder / 'config.json').is_file():
    raise ValueError(
        f'--from must be a workdir, got {workdir!r}; to continue a run, pass'
        ' its own config: --config=WORKDIR/config.json'
    )


def _default_workdir(config, is_here):
  """Returns the default workdir of a config; None for a recorded config."""
  path, _, choice = config.partition(':')
  file = pathlib.Path(path)
  # Like `jrt_jax.train`, this also finds configs/NAME.py where it is installed.
  is_ours = path.startswith('configs/') and (_ROOT / path).is_file()
  if is_here and not file.is_file() and not is_ours:
    raise ValueError(f'--config must be a file, got {str(file)!r}')
  if file.suffix == '.json' or file.name == 'recorded.py':
    return None
  return str(pathlib.Path('runs', file.stem, choice))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
