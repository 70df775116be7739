"""The command `python -m jrt_jax.benchmark`, run as a user runs it."""

import json
import pathlib
import subprocess
import sys

from absl import flags
import pytest

from configs import base
from jrt_jax import benchmark as benchmark_lib
from jrt_jax.benchmarks import plan
from jrt_jax.cost.kernels import KERNELS_OR_CHUNKED
from jrt_jax.training import kernels

ROOT = pathlib.Path(__file__).parents[2]

# One small layer: what is left to wait for are the processes.
SMALL = (
    "--config.model.mixers=('pla',)",
    '--config.model.width=16',
    '--config.model.num_heads=2',
    '--config.model.feature_map.feature_dim=4',
    '--config.model.mlp_width=16',
    '--config.batch_size=2',
    '--config.sequence_length=64',
)


@pytest.fixture
def check_mistake(error_line):

  def check_mistake(arguments, message):
    done = benchmark(*arguments)
    assert done.returncode == 2
    assert error_line(done.stderr).startswith(f'error: {message}')

  return check_mistake


def benchmark(*arguments):
  return subprocess.run(
      [sys.executable, '-m', 'jrt_jax.benchmark', *map(str, arguments)],
      cwd=ROOT,
      capture_output=True,
      text=True,
  )


@pytest.mark.slow
def test_a_goal_is_measured_and_recorded_without_a_gpu(tmp_path):
  path = tmp_path / 'rows.json'
  done = benchmark(*SMALL, '--only=G21', f'--out={path}')
  assert done.returncode == 0, done.stderr
  record = json.loads(path.read_text())
  (row,) = record['rows']
  assert record['platform'] == 'cpu' and record['versions']['jax']
  assert record['command'].startswith('python -m jrt_jax.benchmark ')
  assert row['goal'] == 'G21' and row['tokens_per_second'] > 0
  assert row['shape']['sequence_length'] == 64 and not record['left']
  (line,) = row['implementations']
  assert line.startswith('prefix_linear_attention runs chunked, not mosaic')
  first, *_, last = done.stdout.splitlines()
  assert first == 'There is no GPU: small models run on the CPU instead.'
  assert last == f'jrt_tiny: {line}'
  assert done.stderr.endswith('row 1 of 1, ETA ?\n')


@pytest.mark.slow
def test_rows_that_fail_stop_no_other(tmp_path):
  path = tmp_path / 'rows.json'
  done = benchmark(*SMALL, '--config.prefix.name=entropy', f'--out={path}')
  assert done.returncode == 1, done.stderr
  rows = json.loads(path.read_text())['rows']
  assert [row['goal'] for row in rows] == ['G14', 'G20', 'G21', 'G22']
  for row in rows[:2]:  # their prefixes need what training has measured
    assert row['error'].startswith('config.prefix.name must be one of ')
  assert not any('error' in row for row in rows[2:])
  short, long = map(int, rows[3]['peak_bytes_by_length'])
  assert long == 4 * short


@pytest.mark.slow
def test_what_no_time_is_left_for_is_said(tmp_path):
  path = tmp_path / 'rows.json'
  done = benchmark('--time_budget=0', f'--out={path}')
  assert done.returncode == 1
  record = json.loads(path.read_text())
  assert not record['rows'] and len(record['left']) == len(plan.CPU)
  assert (
      'not measured, because the budget was used up: G14 train step of jrt_tiny'
      in done.stdout
  )


def test_kernels_are_chosen_for_this_machine_before_a_row_is_measured(
    monkeypatch, capsys
):
  choice = kernels.Choice(KERNELS_OR_CHUNKED, 'they are right')
  measured = []

  def measure(function, row, config, *, seconds):
    measured.append(config['model']['implementation'])
    return {}

  monkeypatch.setattr(kernels, 'here', lambda model: choice)
  monkeypatch.setattr(benchmark_lib.processes, 'call', measure)
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
  environment = {'hardware': 'one GPU', 'versions': {'jax': '1'}}
  jobs = []
  for name in 'auto', 'chunked':
    config = base.get_config()
    config.model.implementation = name
    jobs.append((plan.CPU[0], config.to_dict()))
  assert benchmark_lib._measure(jobs, environment, 0.0, None)
  assert measured == [KERNELS_OR_CHUNKED, 'chunked']
  assert capsys.readouterr().err.count(f'{choice}\n') == 1


@pytest.mark.slow
def test_the_plan_is_listed():
  done = benchmark('--list', '--only=G22,G14', '--config=configs/based_360m.py')
  assert done.returncode == 0, done.stderr
  _, train, memory = done.stdout.splitlines()
  assert train == 'G14 train step of based_360m, 4 x 512'
  assert memory == 'G22 prefill memory of based_360m, 1 x 128'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--config=no.py'], "--config must be a .py file, got 'no.py'"),
        (
            ['--config.model.implementation=x'],
            'config.model.implementation must be one of',
        ),
        (['--config.microbatch_per_device=0'], 'config.microbatch_per_device'),
        (['--config.model.nope=1'], "the config has no key 'nope'"),
        (['--only=G1'], '--only must name some of G14, G20, G21, G22, got '),
        (['--out=README.md/rows.json'], '--out must be a file that can be'),
        (['--time_budget=-1'], 'flag --time_budget=-1'),
    ],
)
def test_a_mistake_is_one_line(check_mistake, arguments, message):
  check_mistake(arguments, message)
