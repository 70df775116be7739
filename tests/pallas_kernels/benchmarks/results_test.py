import json

import pytest

from pallas_kernels.benchmarks.results import Folder

ABOUT = {'device': 'NVIDIA H200', 'rehearsal': False}
CEILINGS = [
    {'name': 'copy', 'unit': 'bytes', 'per_second': 4e12},
    {'name': 'copy again', 'unit': 'bytes', 'per_second': 2e12},
    {'name': 'matmul', 'unit': 'flops', 'per_second': 800e12},
]


def timed(**others):
  return {'name': 'G1', 'workload': 'G1', 'implementation': 'x'} | others


def test_a_row_is_there_for_the_next_start(tmp_path):
  Folder(tmp_path).add('goals', timed(ms=2.0))
  assert Folder(tmp_path).rows('goals') == {'G1': timed(ms=2.0)}
  assert Folder(tmp_path).rows('peers') == {}


def test_a_row_replaces_that_of_its_name(tmp_path):
  folder = Folder(tmp_path)
  folder.add('goals', timed(skipped='not yet'))
  folder.add('goals', timed(ms=2.0))
  assert folder.rows('goals') == {'G1': timed(ms=2.0)}


def test_fractions_are_of_the_best_that_was_measured(tmp_path):
  folder = Folder(tmp_path)
  folder.begin(ABOUT)
  for row in CEILINGS:
    folder.add('ceilings', row)
  folder.add('goals', timed(ms=4.0, bytes=8e9, flops=800e9))
  row = folder.finish()['rows'][-1]
  assert row['roofline_ms'] == pytest.approx(2.0)  # of bytes; 1.0 of FLOPs
  assert row['fraction'] == pytest.approx(0.5)


def test_without_ceilings_there_are_no_fractions(tmp_path):
  folder = Folder(tmp_path)
  folder.begin(ABOUT)
  folder.add('ceilings', {'name': 'matmul', 'error': 'out of memory'})
  folder.add('goals', timed(ms=4.0, bytes=8e9, flops=800e9))
  assert 'fraction' not in folder.finish()['rows'][-1]


def test_results_hold_the_rows_of_all_steps_and_judge_them(tmp_path):
  folder = Folder(tmp_path)
  folder.begin(ABOUT)
  row = timed(implementation='mosaic_sm90', ms=1.0)
  folder.add('goals', row)
  results = json.loads(json.dumps(folder.finish()))
  assert results == folder.read()
  assert results['rows'] == [{'step': 'goals'} | row]
  assert results['goals'][0]['met']
  assert results['about'] == ABOUT


@pytest.mark.parametrize(
    'other', [{'device': 'NVIDIA H100'}, {'rehearsal': True}]
)
def test_a_folder_of_another_machine_is_refused(tmp_path, other):
  Folder(tmp_path).begin(ABOUT)
  Folder(tmp_path).begin(ABOUT | {'date': 'later'})
  with pytest.raises(ValueError, match='--out must be a new folder'):
    Folder(tmp_path).begin(ABOUT | other)
