import sys

import pytest

from pallas_kernels.benchmarks import figure


def row(workload, implementation, L, ms):
  shape = {'L': L}
  name = {'workload': workload, 'implementation': implementation}
  return name | {'shape': shape, 'ms': ms}


ROWS = [
    row('G1', 'ours', 32768, 2.0),
    row('G6-2k', 'ours', 2048, 0.1),
    row('G6-2k', 'a_peer', 2048, 0.5),
    row('G9', 'ours', 2048, 0.7),
    {'workload': 'G6-4k', 'implementation': 'ours', 'error': 'it hung'},
]


def test_curves_are_of_what_was_timed_at_several_lengths():
  curves = figure.curves_of(ROWS)
  assert curves == {'ours': [(2048, 0.1), (32768, 2.0)]}


def test_the_figure_is_a_png(tmp_path):
  path = tmp_path / 'times.png'
  figure.draw(ROWS, path)
  assert path.read_bytes().startswith(b'\x89PNG')


def test_nothing_to_draw_is_said(tmp_path):
  with pytest.raises(ValueError, match='nothing was timed at two lengths'):
    figure.draw(ROWS[:1], tmp_path / 'times.png')


def test_a_missing_matplotlib_is_an_import_error(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  with pytest.raises(ImportError):
    figure.draw(ROWS, tmp_path / 'times.png')
