r"""Checks that a run which resumes computes what it computed before.

python -m jrt_jax.verify_resume --workdir=runs/jrt_tiny

This resumes the run at its checkpoint before the newest, repeats the steps to
the newest, and compares the weights, the state of the optimizer, the place in
the data and the logged metrics, bit for bit. The workdir is only read. --from
and --to choose other checkpoints.

It must run on as many devices of the same kind as the run had, in one process.
Exit codes: 0 if nothing differs, 1 if something does, 2 for a mistake in the
command.
"""

import pathlib
import sys

from absl import app
from absl import flags

from jrt_jax import command_line
from jrt_jax.reporting import tables
from jrt_jax.training import replay
from jrt_jax.training import workdirs

_WORKDIR = flags.DEFINE_string('workdir', None, 'The workdir of a run.')
_FROM = flags.DEFINE_integer(
    'from',
    None,
    'The step of the checkpoint to resume at. Default: the one before --to.',
)
_TO = flags.DEFINE_integer(
    'to',
    None,
    'The step of the checkpoint to compare with. Default: the newest.',
)
command_line.define_compilation_cache()

_MOST = 20  # differences that are shown


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors(
      out_of_memory='free memory, or wait until the run has ended'
  ):
    given = command_line.required(_WORKDIR, 'DIR')
    workdirs.read_config(given)  # refuses what is no run
    workdir = pathlib.Path(given).absolute()
    command_line.use_compilation_cache()
    first, last = replay.choose_steps(workdir, _FROM.value, _TO.value)
    print(f'repeating steps {first + 1} to {last} of {workdir}', flush=True)
    found = replay.replay(workdir, first, last)
  _show(found)
  sys.exit(command_line.FAILURE if found.differences else 0)


def _show(found):
  compared = (
      f'{found.numbers:,} numbers of the state and {found.metrics:,} logged'
      ' metrics'
  )
  if not found.differences:
    print(f'bit-exact: {compared} are the same')
    return
  print(f'not bit-exact: {len(found.differences)} differences in {compared}')
  print(tables.aligned(found.differences[:_MOST]))
  if (more := len(found.differences) - _MOST) > 0:
    print(f'and {more} more')
  for change in found.changes:
    print(f'note: {change}')


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
