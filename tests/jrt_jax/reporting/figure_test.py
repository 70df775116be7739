import sys

import numpy as np
import pytest

from jrt_jax.reporting import curves
from jrt_jax.reporting import figure

matplotlib_figure = pytest.importorskip('matplotlib.figure')


def make_run(label, names, steps=100, seconds_per_step=10.0):
  step = np.arange(1, steps + 1)
  axes = 1000.0 * step, seconds_per_step * step
  values = {name: curves.Curve(*axes, 1 + 1 / step) for name in names}
  values['step'] = curves.Curve(*axes, 1.0 * step)
  return curves.Run(label, steps, values)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
  """A function that draws runs and returns matplotlib's figure."""
  figures = []
  save = matplotlib_figure.Figure.savefig

  def savefig(self, path, **kwargs):
    figures.append(self)
    save(self, path, **kwargs)

  monkeypatch.setattr(matplotlib_figure.Figure, 'savefig', savefig)

  def draw(*runs, **kwargs):
    path = tmp_path / 'curves.png'
    figure.draw(runs, str(path), **kwargs)
    assert path.read_bytes().startswith(b'\x89PNG')
    return figures.pop()

  return draw


def test_each_metric_has_a_column_against_tokens_and_time(drawn):
  fig = drawn(
      make_run('a', ['next_token_loss', 'tokens_per_second']),
      make_run('b', ['next_token_loss', 'held_out/recall_accuracy']),
  )
  axes = np.reshape(fig.axes, (2, 3))
  titles = [ax.get_title() for ax in axes[0]]
  assert titles == ['Training loss', 'Recall', 'Throughput']
  assert {ax.get_xlabel() for ax in axes[0]} == {'training tokens'}
  assert {ax.get_xlabel() for ax in axes[1]} == {'training time (minutes)'}
  lines = [len(ax.lines) for ax in axes[0]]
  assert lines == [4, 2, 2]  # of both runs, or one; faint, and smooth
  (legend,) = fig.legends
  assert [text.get_text() for text in legend.get_texts()] == ['a', 'b']


def test_training_losses_say_what_they_are_per(drawn):
  for name, unit in (
      ('next_token_loss', 'nats per next token'),
      ('bits_per_byte', 'bits per byte'),
  ):
    ax = drawn(make_run('a', [name])).axes[0]
    assert (ax.get_title(), ax.get_ylabel()) == ('Training loss', unit)


def test_what_is_drawn_is_the_metric_after_the_first_fall(drawn):
  run = make_run('a', ['held_out/recall_accuracy'], steps=200)
  for ax, x in zip(drawn(run).axes, (1000.0, 10 / 60)):
    faint, smooth = ax.lines
    steps = np.arange(4, 201)  # from 2 % on
    np.testing.assert_allclose(faint.get_xdata(), x * steps)
    np.testing.assert_allclose(smooth.get_ydata(), 100 + 100 / steps)


def test_probes_are_drawn_as_they_were_found(drawn):
  names = ['probe/recall_default', 'probe/recall_twice']
  fig = drawn(make_run('a', ['next_token_loss', *names], steps=20), smooth=0.5)
  titles = [ax.get_title() for ax in fig.axes[:3]]
  assert titles[1:] == ['Probes, read once', 'Probes, read twice']
  for ax in fig.axes[1:3]:
    _, line = ax.lines  # a point for each, no mean
    assert line.get_marker() == 'o'
    np.testing.assert_allclose(line.get_ydata(), 100 + 100 / np.arange(1, 21))


def test_probes_are_drawn_beside_what_guessing_would_reach(drawn):
  names = ['probe/recall_default', 'probe/recall_chance']
  run = make_run('a', ['next_token_loss', *names], steps=20)
  fig = drawn(run)
  loss, probes, _ = (ax.get_lines() for ax in fig.axes[:3])
  assert len(loss) == 2 and len(probes) == 3
  chance = run.curves['probe/recall_chance'].values[-1]
  assert {*probes[-1].get_ydata()} == {100 * chance}
  (text,) = fig.axes[1].texts
  assert text.get_text() == 'chance'


def test_training_curves_are_smoothed(drawn):
  run = make_run('a', ['next_token_loss'])
  faint, smooth = drawn(run, smooth=0.5).axes[0].lines
  expected = run.smoothed(0.5).curves['next_token_loss'].values
  np.testing.assert_allclose(smooth.get_ydata(), expected[1:])
  assert (faint.get_ydata() < smooth.get_ydata())[1:].all()


def test_many_runs_look_different(drawn):
  fig = drawn(*(make_run(str(i), ['next_token_loss']) for i in range(15)))
  looks = {(x.get_color(), x.get_linestyle()) for x in fig.axes[0].lines}
  assert len(looks) == 15


@pytest.mark.parametrize(
    ('seconds', 'unit'),
    [(1, 'seconds'), (100, 'seconds'), (120, 'minutes'), (9e5, 'days')],
)
def test_time_is_in_a_unit_that_fits(drawn, seconds, unit):
  run = make_run('a', ['next_token_loss'], 50, seconds / 50)
  assert drawn(run).axes[1].get_xlabel() == f'training time ({unit})'


def test_a_single_point_can_be_drawn(drawn):
  drawn(make_run('a', ['next_token_loss', 'held_out/bits_per_byte'], steps=1))


def test_long_labels_fit(drawn):
  fig = drawn(make_run('a' * 90, ['next_token_loss']))
  (legend,) = fig.legends
  box = legend.get_window_extent()
  assert box.x0 >= 0 and box.x1 <= fig.bbox.x1


def test_runs_with_nothing_to_draw_are_one_line(tmp_path):
  with pytest.raises(
      ValueError, match='a metric of next_token_loss, .*got none'
  ):
    figure.draw([make_run('a', ['other'])], str(tmp_path / 'a.png'))


def test_a_file_that_cannot_be_is_one_line(tmp_path):
  run = make_run('a', ['next_token_loss'])
  with pytest.raises(ValueError, match="Format 'xyz' is not supported"):
    figure.draw([run], str(tmp_path / 'a.xyz'))
  with pytest.raises(FileNotFoundError, match='missing'):
    figure.draw([run], str(tmp_path / 'missing' / 'a.png'))


def test_missing_matplotlib_is_one_line(monkeypatch, tmp_path):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  with pytest.raises(ValueError, match='pip install matplotlib$'):
    figure.draw([make_run('a', ['next_token_loss'])], str(tmp_path / 'a.png'))


def test_panels_are_drawn_in_the_order_in_which_they_are_chosen(drawn):
  run = make_run('a', ['next_token_loss', 'held_out/bits_per_byte', 'x'])
  fig = drawn(run, panels=['bits_per_byte', 'loss'], against=['tokens'])
  titles = [ax.get_title() for ax in fig.axes]
  assert titles == ['Held-out text', 'Training loss']
  assert {ax.get_xlabel() for ax in fig.axes} == {'training tokens'}


def test_loss_is_the_panel_of_runs_whose_tokens_differ_as_well(drawn):
  (ax,) = drawn(
      make_run('a', ['bits_per_byte']), panels=['loss'], against=['time']
  ).axes
  assert ax.get_ylabel() == 'bits per byte'


@pytest.mark.parametrize(
    ('size', 'inches'),
    [('single', (3.25, 2.0)), ('double', (6.75, 2.0)), ('5x3.5', (5, 3.5))],
)
def test_a_figure_has_the_size_of_a_paper(drawn, size, inches):
  run = make_run('a', ['next_token_loss'])
  fig = drawn(run, size=size, against=['tokens'])
  assert tuple(fig.get_size_inches()) == inches
  (legend,) = fig.legends
  texts = [*legend.get_texts(), *fig.axes[0].get_xticklabels()]
  assert all(6 <= text.get_fontsize() <= 8 for text in texts)


@pytest.mark.parametrize(
    ('choice', 'message'),
    [
        ({'panels': ['los']}, "--panels must be among loss, .*, got 'los'"),
        (
            {'panels': ['recall']},
            "among loss, throughput, which the runs have, got 'recall'",
        ),
        (
            {'against': ['steps']},
            "--against must be of tokens, time, got 'steps'",
        ),
        ({'against': []}, '--against must be of tokens, time'),
        ({'size': 'A4'}, "--size must be single, double or .*, got 'A4'"),
        ({'size': '0x3'}, "of 1 to 100, got '0x3'"),
        (
            {'size': '2x3'},
            '--size=2x3 has room for 1 panels side by side, got 2',
        ),
    ],
)
def test_a_choice_that_cannot_be_drawn_is_one_line(tmp_path, choice, message):
  run = make_run('a', ['next_token_loss', 'tokens_per_second'])
  with pytest.raises(ValueError, match=message):
    figure.draw([run], str(tmp_path / 'a.png'), **choice)
