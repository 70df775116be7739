from pallas_kernels.benchmarks import goals
from pallas_kernels.benchmarks import table
from pallas_kernels.benchmarks.roofline import Workload

ABOUT = {
    'device': 'NVIDIA H200',
    'versions': {'jax': '0.11.2'},
    'date': '2026-11-20',
    'command': 'python -m pallas_kernels.benchmarks --out x',
    'rehearsal': False,
}


def results(*rows, **about):
  return {'about': ABOUT | about, 'rows': rows, 'goals': goals.judge(rows)}


def row(implementation, ms, workload='G1', **others):
  shape = Workload(16, 16, 32768, 16384)._asdict()
  times = {'ms': ms, 'p90_ms': 2 * ms}
  name = {'workload': workload, 'implementation': implementation}
  return name | {'shape': shape} | times | others


def test_the_fastest_is_bold_and_first_whoever_it_is():
  text = table.markdown(
      results(row('mosaic_sm90', 3.0, fraction=0.25), row('a_peer', 2.0))
  )
  lines = [line for line in text.splitlines() if line.startswith('| G1 | B16')]
  shape = 'B16 H16 L32768 P16384 V64'
  assert lines == [
      f'| G1 | {shape} | a_peer | **2** (4) |  |',
      f'| G1 | {shape} | mosaic_sm90 | 3 (6) | 25% |',
  ]


def test_goals_say_whether_they_are_met():
  text = table.markdown(results(row('mosaic_sm90', 2.0, fraction=0.4)))
  assert '| G1 | G1, ms | 2 | ≤ 2.7: met | ≤ 1.6: not met |' in text
  assert '| G5 | G1, fraction of the roofline | 0.4 | ≥ 0.29: met |' in text
  assert 'G9' not in text  # was not measured


def test_rows_without_times_are_left_out():
  failed = {'workload': 'G1', 'implementation': 'x', 'error': 'it hung'}
  assert 'it hung' not in table.markdown(results(failed))


def test_it_says_where_the_numbers_come_from():
  text = table.markdown(results())
  assert 'NVIDIA H200, jax 0.11.2, 2026-11-20' in text
  assert ABOUT['command'] in text
  assert 'rehearsal' not in text
  assert 'rehearsal' in table.markdown(results(rehearsal=True))
