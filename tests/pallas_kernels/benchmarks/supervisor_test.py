import sys
import time

import pytest

from pallas_kernels.benchmarks import supervisor
from pallas_kernels.benchmarks.case import Case
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.benchmarks.results import Folder

# Computes rows as the real one does, and does what their names say.
WORKER = """
import json, os, sys, time
def tell(**message): print(json.dumps(message), flush=True)
names = sys.argv[sys.argv.index('--') + 2:]
for name in names:
  tell(begin=name)
  if name == 'crash': os._exit(7)
  if name == 'hang': time.sleep(600)
  tell(row={'name': name, 'process': os.getpid()})
  if name == 'last': break
"""


@pytest.fixture
def run(tmp_path):
  """Runs cases of the names, and returns their rows."""
  settings = Settings(Folder(tmp_path))
  tmp_path.mkdir(exist_ok=True)

  def run(*cases, worker=WORKER, until=60.0, end=60.0, report=lambda row: None):
    cases = [Case(c, dict) if isinstance(c, str) else c for c in cases]
    supervisor.run(
        settings,
        'step',
        cases,
        until=time.time() + until,
        end=time.time() + end,
        report=report,
        worker=[sys.executable, '-S', '-c', worker],
    )
    return settings.folder.rows('step')

  return run


def test_rows_come_from_one_process(run):
  rows = run('a', 'b')
  assert list(rows) == ['a', 'b']
  assert rows['a']['process'] == rows['b']['process']


def test_cases_of_another_process_have_their_own(run):
  rows = run('a', Case('b', dict, process='torch'), 'c')
  assert len({row['process'] for row in rows.values()}) == 3


def test_a_crash_is_a_row_and_the_rest_goes_on(run):
  rows = run('a', 'crash', 'b')
  assert rows['crash']['error'] == 'the process ended with code 7'
  assert 'error' not in rows['a'] | rows['b']


def test_a_process_that_does_not_start_is_a_row(run):
  rows = run('a', 'b', worker='import sys; sys.exit(3)')
  assert rows['a']['error'] == 'the process ended with code 3'
  assert rows['b']['error'] == 'the process ended with code 3'


def test_a_process_that_ends_after_a_row_is_started_anew(run):
  rows = run('a', 'last', 'b')
  assert rows['a']['process'] == rows['last']['process'] != rows['b']['process']


def test_what_hangs_is_ended(run, monkeypatch):
  monkeypatch.setattr(supervisor, 'STARTUP', 0.5)
  rows = run(Case('hang', dict, limit=0.5), 'a')
  assert rows['hang']['error'] == 'no result after 0 seconds'
  assert 'error' not in rows['a']


def test_a_row_is_given_up_some_time_after_the_budget(run, monkeypatch):
  monkeypatch.setattr(supervisor, 'GRACE', 0.5)
  rows = run('a', 'hang', until=1.0, end=1.0)
  assert list(rows) == ['a']  # a second start will try again


def test_after_the_budget_nothing_begins(run):
  assert run('a', until=-1.0) == {}


def test_a_second_start_runs_what_is_left(run):
  first = run('a', 'crash')
  second = run('a', 'crash', 'b')
  assert second['a'] == first['a'] and second['crash'] == first['crash']
  assert 'error' not in second['b']


@pytest.mark.parametrize('reason', ['skipped', 'waits'])
def test_a_second_start_asks_again_for_what_was_missing(run, reason):
  lacking = f"""
import json
print(json.dumps({{'row': {{'name': 'a', '{reason}': 'no torch'}}}}))
"""
  reported = []
  assert reason in run('a', worker=lacking, report=reported.append)['a']
  assert reported[0] == {'name': 'a', reason: 'no torch'}
  assert reason not in run('a')['a']


def test_a_machine_without_jax_is_one_line(tmp_path):
  with pytest.raises(OSError, match=r'jax could not start \(.* code 1\).*log'):
    supervisor.ask(
        Settings(Folder(tmp_path)),
        worker=[sys.executable, '-c', 'raise ImportError("jax")'],
    )
