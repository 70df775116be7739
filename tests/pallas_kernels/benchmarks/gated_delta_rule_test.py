import json

from pallas_kernels.benchmarks import gated_delta_rule as benchmark


def test_both_recurrences_are_timed_and_written(
    unoptimized, monkeypatch, tmp_path, capsys
):
  widths = {'gdn': (2, 3), 'mamba2': (2, 3)}
  monkeypatch.setattr(benchmark, '_WIDTHS', widths)
  path = tmp_path / 'results.json'
  benchmark.main(['--lengths=16,32', '--rounds=1', f'--out={path}'])
  result = json.loads(path.read_text())
  assert len(result['rows']) == 8  # recurrences, directions, lengths
  assert all(row['ms'] > 0 for row in result['rows'])
  assert result['exponents'].keys() == {
      f'{name} {direction}'
      for name in widths
      for direction in ('forward', 'forward+backward')
  }
  assert 'gdn forward: time grows as length^' in capsys.readouterr().out
