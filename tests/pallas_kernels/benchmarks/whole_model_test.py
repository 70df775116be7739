import pytest

from pallas_kernels.benchmarks import whole_model
from pallas_kernels.benchmarks.case import Missing

PROGRAM = """
import json, sys, time
flags = dict(flag.split('=') for flag in sys.argv[1:])
assert flags.keys() == {{'--only', '--out'}} and flags['--only'] == 'G14'
json.dump({{'rows': {rows}}}, open(flags['--out'], 'w'))
time.sleep({seconds})
sys.exit(1)
"""


@pytest.fixture
def measure(tmp_path, monkeypatch):
  monkeypatch.setattr(whole_model, '_MODULE', 'a_whole_model')
  monkeypatch.setenv('PYTHONPATH', str(tmp_path))

  def measure(rows, seconds=0):
    text = PROGRAM.format(rows=rows, seconds=seconds)
    (tmp_path / 'a_whole_model.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return whole_model.measure('G14')

  return measure


def test_the_first_row_of_the_goal_is_taken(measure):
  rows = [{'goal': 'G15'}, {'goal': 'G14', 'x': 1}, {'goal': 'G14', 'x': 2}]
  row = measure(rows)
  assert row['rows'] == [{'goal': 'G14', 'x': 1}]
  assert row['command'] == 'python -m a_whole_model --only=G14'


def test_nobody_waits_for_the_baselines(measure):
  assert measure([{'goal': 'G14', 'x': 1}], seconds=1000)['rows']


def test_no_row_is_an_error(measure):
  with pytest.raises(RuntimeError, match='ended with code 1 and no row of G14'):
    measure([{'goal': 'G15'}])


def test_a_failed_row_is_an_error(measure):
  with pytest.raises(RuntimeError, match='a_whole_model: no memory'):
    measure([{'goal': 'G14', 'error': 'no memory'}])


def test_without_the_program_the_row_is_missing(monkeypatch):
  monkeypatch.setattr(whole_model, '_MODULE', 'no_such_program')
  with pytest.raises(Missing, match='no_such_program is not installed'):
    whole_model.measure('G14')
