import json

import pytest

from pallas_kernels.benchmarks import prefix_linear_attention as benchmark


def test_a_run_prints_a_table_and_writes_it(
    unoptimized, monkeypatch, tmp_path, capsys
):
  monkeypatch.setattr(benchmark, '_WIDTHS', {'D': 2, 'V': 3})
  path = tmp_path / 'results.json'
  benchmark.main(
      ['--lengths=16,32', '--quadratic_up_to=16', '--rounds=1']
      + ['--heads=1', f'--out={path}']
  )
  result = json.loads(path.read_text())
  assert len(result['rows']) == 8  # implementations, directions, lengths
  for row in result['rows']:
    too_long = row['implementation'] == 'reference' and row['length'] > 16
    assert (row['ms'] is None) == too_long
    assert row['temporary_bytes'] > 0
  # One length gives no exponent.
  assert list(result['exponents']) == [
      'chunked forward',
      'chunked forward+backward',
  ]
  table = capsys.readouterr().out
  assert 'B=1, H=1, D=2, V=3' in table
  assert table.count('chunked        forward') == 4
  assert 'chunked forward: time grows as length^' in table


@pytest.mark.parametrize(
    'flags',
    [['--implementations', 'x'], ['--dtype', 'int8']],
)
def test_an_unknown_choice_is_refused(flags):
  with pytest.raises(SystemExit):
    benchmark.main(flags)
