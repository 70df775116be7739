import pytest

from pallas_kernels.benchmarks import goals


def row(workload, implementation, ms, **others):
  return {
      'workload': workload,
      'implementation': implementation,
      'ms': ms,
      **others,
  }


def find(rows, name, measure):
  found = [
      goal
      for goal in goals.judge(rows)
      if goal['goal'] == name and measure in goal['measure']
  ]
  assert len(found) == 1
  return found[0]


@pytest.mark.parametrize(
    'ms, met, stretch_met',
    [(3.0, False, False), (2.7, True, False), (1.5, True, True)],
)
def test_a_time_meets_what_it_does_not_exceed(ms, met, stretch_met):
  goal = find([row('G1', 'mosaic_sm90', ms)], 'G1', 'ms')
  assert (goal['value'], goal['met']) == (ms, met)
  assert goal['stretch_met'] == stretch_met


def test_a_peer_is_beaten_by_the_ratio_of_times():
  rows = [row('G1', 'mosaic_sm90', 2.0), row('G1', 'torch_flash', 100.0)]
  goal = find(rows, 'G1', 'torch_flash')
  assert goal['value'] == 50
  assert goal['met'] and not goal['stretch_met']


def test_of_several_peers_the_fastest_counts():
  rows = [
      row('G1', 'mosaic_sm90', 2.0),
      row('G1', 'dew_fa3', 70.0),
      row('G1', 'jla_attention', 40.0),
  ]
  goal = find(rows, 'G2', 'dew_fa3')
  assert goal['value'] == 20 and not goal['met']


def test_without_the_row_of_a_peer_nothing_is_claimed():
  goal = find([row('G1', 'mosaic_sm90', 2.0)], 'G1', 'torch_flash')
  assert goal['value'] is goal['met'] is goal['stretch_met'] is None


def test_a_failed_row_counts_as_missing():
  rows = [
      {'workload': 'G1', 'implementation': 'mosaic_sm90', 'error': 'it hung'}
  ]
  assert find(rows, 'G1', 'ms')['value'] is None


def test_wider_values_are_compared_by_token_and_value():
  # Half of the tokens, 112 values for 64: the same for each in 7/8 of the time.
  rows = [row('G6-2k', 'mosaic_sm90', 0.16), row('G11', 'mosaic_sm90', 0.14)]
  goal = find(rows, 'G11', 'G11, time per')
  assert goal['value'] == pytest.approx(1.0)
  assert goal['met']


def test_fractions_and_errors_are_read_from_their_rows():
  rows = [
      row('G1', 'mosaic_sm90', 2.0, fraction=0.4),
      {
          'workload': 'V64 long forward',
          'implementation': 'mosaic_sm90',
          'worst': 4e-3,
      },
  ]
  assert find(rows, 'G5', 'roofline')['met']
  accuracy = find(rows, 'G24', 'forward')
  assert accuracy['met'] and not accuracy['stretch_met']
