from jrt_jax.benchmarks import plan
from jrt_jax.benchmarks import results


def make_row(model, goal='G14', what='train step', target=None, **figures):
  work = {'batch_size': 2, 'sequence_length': 128}
  row = plan.Row(goal, what, model, work, target)
  return results.row(row, plan.config(row), figures)


def test_a_row_says_what_it_is_of_and_whether_its_target_is_met():
  target = plan.Target('ms', must=5, stretch=3, at_most=True)
  row = make_row('jrt_tiny', target=target, ms=4.0)
  assert row['shape'] == {
      'batch_size': 2,
      'sequence_length': 128,
      'prefix': 64,
      'dtype': 'float32',
  }
  assert row['met'] == 'must' and row['target']['must'] == 5
  assert 'met' not in make_row('jrt_tiny', target=target, error='no memory')
  assert 'target' not in make_row('jrt_tiny', ms=4.0)


def test_a_row_ends_with_what_there_is_to_say():
  target = plan.Target('tokens_per_second', must=2e5, stretch=3e5)
  row = make_row('jrt_tiny', target=target, tokens_per_second=1e5, mfu=0.25)
  line = results.lines(row)
  assert line.split()[:7] == 'G14 train step jrt_tiny 2 x 128'.split()
  assert '100,000' in line and '25.0%' in line
  assert line.endswith('tokens_per_second >= 200,000: no')
  assert results.lines(make_row('jrt_tiny', error='x')).endswith('error: x')
  states = {'state_bytes': 1200, 'expected_state_bytes': 1000}
  line = results.lines(make_row('jrt_tiny', **states))
  assert line.endswith('the state has 1,200 bytes instead of 1,000')


def test_ours_is_compared_with_every_baseline_also_where_it_loses():
  rows = [
      make_row('jrt_360m', tokens_per_second=300.0),
      make_row('attention_360m', tokens_per_second=400.0),
      make_row('attention_1b', tokens_per_second=1.0),  # of another size
      make_row('jrt_360m', growth=1.0, peak_bytes=10, what='prefill memory'),
      make_row('based_360m', growth=1.0, peak_bytes=5, what='prefill memory'),
      make_row('based_360m', error='no memory'),
  ]
  assert results.remarks({'rows': rows, 'left': []}) == [
      'G14 train step: jrt_360m has 0.75x the tokens_per_second of'
      ' attention_360m',
      'G14 prefill memory: jrt_360m has 2.00x the peak_bytes of based_360m',
  ]


def test_what_ran_is_said_once_for_a_model_and_what_did_not_is_named():
  rows = [make_row('jrt_tiny', implementations=['chunked runs'])] * 2
  assert results.remarks({'rows': rows, 'left': ['G15', 'G18']}) == [
      'jrt_tiny: chunked runs',
      'not measured, because the budget was used up: G15; G18',
  ]


def test_a_row_with_all_figures_fits_a_terminal():
  target = plan.Target('tokens_per_second', must=2e5, stretch=3e5)
  row = make_row(
      'attention_360m',
      target=target,
      tokens_per_second=1_234_567.0,
      ms=12_345.678,
      p90_ms=12_345.678,
      mfu=0.25,
      compiled_bytes=2**36,
      peak_bytes=2**36,
      drift=0.123,
  )
  lines = results.lines(row).splitlines()
  assert max(map(len, lines)) <= 80
  assert '1,234,567 tokens/s, 12,345.678 ms' in lines[1]
