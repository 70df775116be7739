import json
import subprocess
import sys
import time

import pytest

from pallas_kernels.benchmarks import case as case_lib
from pallas_kernels.benchmarks import worker
from pallas_kernels.benchmarks.case import Case


def failing(error):
  def run():
    raise error

  return Case('a', run)


def test_a_row_has_its_name_and_what_it_took():
  row, usable = worker.compute(Case('a', lambda: {'ms': 1.0}))
  assert row.pop('seconds') >= 0
  assert row == {'name': 'a', 'ms': 1.0} and usable


@pytest.mark.parametrize(
    'error, key, usable',
    [
        (ImportError('no torch'), 'skipped', True),
        (case_lib.Missing('no GPU'), 'skipped', True),
        (case_lib.Waiting('not checked'), 'waits', True),
        (ValueError('bad shape'), 'error', True),
        (RuntimeError('CUDA error\nand more'), 'error', False),
        (NotImplementedError('refused'), 'error', False),
    ],
)
def test_a_failure_is_a_row_too(error, key, usable):
  row, still_usable = worker.compute(failing(error))
  first = str(error).splitlines()[0]
  assert row[key] == f'{type(error).__name__}: {first}'
  assert still_usable == usable


def test_the_output_is_json_whatever_is_printed(tmp_path):
  process = subprocess.run(
      [sys.executable, '-m', 'pallas_kernels.benchmarks.worker']
      + [f'--out={tmp_path}', f'--until={time.time() + 60}']
      + ['--', 'machine', 'machine'],
      capture_output=True,
      text=True,
      check=True,
  )
  (line,) = process.stdout.splitlines()
  row = json.loads(line)['row']
  assert row['platform'] == 'cpu'
  assert row['unfit'] == 'jax finds no GPU'
  assert row['versions']['jax']
