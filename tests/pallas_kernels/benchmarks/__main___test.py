import json
import subprocess
import sys

import pytest

from pallas_kernels.benchmarks import __main__ as command
from pallas_kernels.benchmarks import supervisor

H200 = {
    'name': 'machine',
    'device': 'NVIDIA H200',
    'platform': 'gpu',
    'versions': {'jax': '0.11.2'},
    'unfit': None,
}


@pytest.fixture
def started(monkeypatch):
  """Steps in the order of their start; rows come from `found`, by name."""
  steps, found = [], {}
  monkeypatch.setattr(supervisor, 'ask', lambda settings: dict(H200))

  def run(settings, step, cases, *, until, end, report):
    assert until <= end
    steps.append(step)
    for case in supervisor.remaining(settings, step, cases):
      if case.name in found:
        row = {'name': case.name} | found[case.name]
        settings.folder.add(step, row)
        report(row)

  monkeypatch.setattr(supervisor, 'run', run)
  return steps, found


def test_the_steps_come_in_order_and_once_more(started, tmp_path, capsys):
  steps, found = started
  found['G1'] = {
      'workload': 'G1',
      'implementation': 'mosaic_sm90',
      'ms': 2.0,
      'shape': dict.fromkeys('BHLPV', 1) | {'backward': False},
  }
  assert command.main(['--out', str(tmp_path)]) == 0
  order = 'correctness', 'ceilings', 'tuning', 'winners', 'goals', 'peers'
  assert tuple(steps) == 2 * order
  results = json.loads((tmp_path / 'results.json').read_text())
  assert [row['name'] for row in results['rows']] == ['G1']
  assert results['about']['device'] == 'NVIDIA H200'
  output = capsys.readouterr().out
  assert 'goals: G1: 2 ms' in output
  assert '| G1 | G1, ms | 2 | ≤ 2.7: met |' in output
  assert "correctness: 54 rows are left, 'V64 causal forward' first" in output


def test_a_failed_row_is_told_at_the_end(started, tmp_path, capsys):
  started[1]['V64 split forward'] = {'error': 'y differs by 1'}
  assert command.main(['--out', str(tmp_path)]) == 1
  last = capsys.readouterr().out.splitlines()[-1]
  assert last == 'correctness: V64 split forward: y differs by 1'


def test_what_was_skipped_is_not_tried_twice_in_one_start(
    started, tmp_path, capsys
):
  started[1]['G1 torch_flash'] = {'skipped': 'no torch'}
  assert command.main(['--out', str(tmp_path)]) == 0
  assert capsys.readouterr().out.count('skipped: no torch') == 1
  assert command.main(['--out', str(tmp_path)]) == 0
  assert capsys.readouterr().out.count('skipped: no torch') == 1


def test_without_a_gpu_nothing_starts(started, monkeypatch, tmp_path, capsys):
  machine = H200 | {'device': 'cpu', 'unfit': 'jax finds no GPU'}
  monkeypatch.setattr(supervisor, 'ask', lambda settings: machine)
  assert command.main(['--out', str(tmp_path)]) == 2
  assert not started[0]
  error = capsys.readouterr().err
  assert error.startswith(
      'error: jax finds no GPU: this command needs a Hopper'
  )


def test_the_plan_is_shown_without_a_run(started, capsys):
  assert command.main(['--list']) == 0
  output = capsys.readouterr().out
  assert output.index('correctness: 54 rows') < output.index('peers: ')
  assert '  V64 backward: backward.prefix_chunks=2\n' in output
  assert started[0] == []


def test_results_are_shown_as_markdown(started, tmp_path, capsys):
  assert command.main(['--out', str(tmp_path)]) == 0
  shown = capsys.readouterr().out
  assert command.main(['--table', str(tmp_path / 'results.json')]) == 0
  assert capsys.readouterr().out.strip() in shown


@pytest.mark.parametrize(
    'flags, message',
    [
        (['--out=new', '--publish'], '--out must have results, new has none'),
        (['--table=none.json'], "No such file or directory: 'none.json'"),
    ],
)
def test_a_mistake_is_one_line(flags, message, monkeypatch, tmp_path, capsys):
  monkeypatch.chdir(tmp_path)
  assert command.main(flags) == 2
  error = capsys.readouterr().err
  assert error.startswith('error: ') and error.count('\n') == 1
  assert message in error


@pytest.mark.parametrize(
    'flags, message',
    [
        ([], '--out=DIR must be given'),
        (['--out=x', '--time_budget=soon'], "invalid float value: 'soon'"),
        (['--out=x', '--bugdet=1'], 'unrecognized arguments: --bugdet=1'),
    ],
)
def test_a_wrong_flag_is_one_line(flags, message, capsys):
  with pytest.raises(SystemExit, match='2'):
    command.main(flags)
  error = capsys.readouterr().err
  assert error.startswith('error: ') and error.count('\n') == 1
  assert message in error


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_rehearsal_runs_everything_but_what_is_not_installed(tmp_path):
  start = [sys.executable, '-m', 'pallas_kernels.benchmarks', '--rehearse']
  process = subprocess.run(
      [*start, f'--out={tmp_path}', '--time_budget=1500'],
      capture_output=True,
      text=True,
  )
  assert process.returncode == 0, process.stdout + process.stderr
  results = json.loads((tmp_path / 'results.json').read_text())
  rows = results['rows']
  assert results['about']['rehearsal']
  assert not [row for row in rows if 'error' in row]
  steps = {row['step'] for row in rows if not {'skipped', 'waits'} & row.keys()}
  assert steps >= {'correctness', 'ceilings', 'tuning', 'goals', 'peers'}
  names = {'G1', 'G9', 'G7', 'G10', 'G8', 'G11', 'G12', 'G13'}
  assert names <= {row['name'] for row in rows}
