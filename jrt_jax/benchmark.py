r"""Measures whole models: training steps, prefill and decoding.

python -m jrt_jax.benchmark --out=results.json
python -m jrt_jax.benchmark --only=G14 --config=configs/jrt_360m.py \
    --config.microbatch_per_device=16 --config.model.remat=dots

Without --config every model of the plan is measured, our own before the
baselines, and --config.KEY=VALUE changes all of them. --list prints the plan.
Each row of the plan is measured in its own process. Without a GPU there is a
small plan for the CPU. On a Hopper GPU a separate process first checks that the
kernels compute the right results, as before training. Exit codes: 0 if all rows
were measured, 1 if a row failed or --time_budget was too short, 2 for a mistake
in the command, 130 after Ctrl-C.
"""

import pathlib
import sys
import time

from absl import app
from absl import flags
from ml_collections import config_flags

import configs
from jrt_jax import command_line
from jrt_jax.benchmarks import plan
from jrt_jax.benchmarks import processes
from jrt_jax.benchmarks import results
from jrt_jax.benchmarks import worker
from jrt_jax.reporting import provenance
from jrt_jax.reporting import units
from jrt_jax.training import kernels

_CONFIG = config_flags.DEFINE_config_file(
    'config',
    None,
    'A file of configs/: measure this model only; --config.KEY=VALUE changes a'
    ' key.',
)
_ONLY = flags.DEFINE_list(
    'only', [], 'Measure these goals only, as in G14,G21; default: all.'
)
_OUT = flags.DEFINE_string('out', None, 'Write the rows to this file.')
_TIME_BUDGET = flags.DEFINE_float(
    'time_budget',
    None,
    'Stop measuring after so many seconds.',
    lower_bound=0.0,
)
_LIST = flags.DEFINE_bool('list', False, 'Print the plan and measure nothing.')

_EVERY_MODEL = pathlib.Path(configs.__file__).parent / 'base.py'


def main(argv: list[str]) -> None:
  del argv
  start = time.monotonic()
  with (
      command_line.one_line_errors(),
      command_line.one_line_failures(processes.Failed),
  ):
    out = _OUT.value and command_line.output_file(_OUT)
    environment = processes.call(worker.environment)
    on_gpu = environment['platform'] == 'gpu'
    if not on_gpu:
      print('There is no GPU: small models run on the CPU instead.')
    jobs = _jobs(plan.GPU if on_gpu else plan.CPU)
    complete = _LIST.value or _measure(jobs, environment, start, out)
  if _LIST.value:
    print('\n'.join(_show(row) for row, _ in jobs))
  sys.exit(0 if complete else command_line.FAILURE)


def _jobs(rows):
  """Returns what to measure: a list of (row, config)."""
  flag = flags.FLAGS['config']
  file = pathlib.Path(config_flags.get_config_filename(flag))
  overrides = config_flags.get_override_values(flag)
  given = None
  if file != _EVERY_MODEL:
    given = _CONFIG.value
    rows = plan.of_model(rows, file.name.removesuffix('.py'))
  rows = plan.select(rows, _ONLY.value)
  rows = [plan.change(row, overrides) for row in rows]
  jobs = [(row, plan.config(row, given)) for row in rows]
  if given or overrides:  # report a mistake of the user before any row runs
    processes.call(worker.check, [config for _, config in jobs])
  return jobs


def _measure(jobs, environment, start, out):
  """Measures rows until the budget ends; returns whether all succeeded."""
  record = environment | {
      'command': provenance.command('jrt_jax.benchmark'),
      'rows': [],
      'left': [str(row) for row, _ in jobs],
  }
  _write(record, out)
  print(f'{record["hardware"]}, jax {record["versions"]["jax"]}')
  for row, config in jobs:
    config = {**config, 'model': kernels.decided(config['model'])}
    left = None
    if _TIME_BUDGET.value is not None:
      left = start + _TIME_BUDGET.value - time.monotonic()
      if left <= 0:
        break
    _tell_progress(record)
    record['rows'].append(_measure_row(row, config, left))
    del record['left'][0]
    _write(record, out)
    print(results.lines(record['rows'][-1]), flush=True)
  for line in results.remarks(record):
    print(line)
  failed = any('error' in row for row in record['rows'])
  return not failed and not record['left']


def _measure_row(row, config, seconds):
  begin = time.monotonic()
  try:
    figures = processes.call(worker.measure, row, config, seconds=seconds)
  except (processes.Failed, ValueError) as error:
    figures = {'error': str(error)}
  figures['seconds'] = time.monotonic() - begin
  return results.row(row, config, figures)


def _tell_progress(record):
  done, left = len(record['rows']), len(record['left'])
  eta = '?'
  if done:
    pace = sum(row['seconds'] for row in record['rows']) / done
    eta = units.duration(left * pace)
  print(
      f'{record["left"][0]}: row {done + 1} of {done + left}, ETA {eta}',
      file=sys.stderr,
      flush=True,
  )


def _write(record, out):
  if out:
    provenance.write_json(out, record)


def _show(row):
  return f'{row}: {row.target}' if row.target else str(row)


def _parse(argv):
  """Parses flags; without --config, keys of base.py can still be changed."""
  given = any(arg.lstrip('-').split('=')[0] == 'config' for arg in argv[1:])
  default = [] if given else [f'--config={_EVERY_MODEL}']
  parse = command_line.parser(config='config')
  return parse([*argv[:1], *default, *argv[1:]])


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
