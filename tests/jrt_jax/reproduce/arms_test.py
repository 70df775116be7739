import pytest

from jrt_jax.reproduce import arms as arms_lib
from jrt_jax.reproduce import exhibit

OVERRIDES = {'data.synthetic.sizes': (2, 4), 'steps': 7}
FOUND = arms_lib.Arms(
    {'new': 'the new one', 'control': 'control'},
    {
        'cpu': [
            arms_lib.sweep(
                'needle',
                OVERRIDES,
                {name: {'model.num_heads': heads}},
                rates=(0.1, 0.2, 0.3),
                num_seeds=seeds,
            )
            for name, heads, seeds in (('new', 1, 3), ('control', 2, 2))
        ]
    },
)
FAKE = exhibit.Exhibit(*['.'] * 3, FOUND.plan, lambda *_: {}, None, None, None)


def share(settings):
  """The middle rate is the best, and seeds differ by a percent."""
  best = 0.6 if settings['overrides']['model.num_heads'] == 1 else 0.5
  return (
      best
      - abs(settings['learning_rate'] - 0.2)
      + (settings['seed'] - arms_lib.FIRST_SEED + 1) / 100
  )


def test_controls_may_have_fewer_seeds(trained):
  results = trained(FAKE, share)
  assert len(results) == 3 + 3 + 3 + 2
  assert FOUND.accuracies(results, 'new') == pytest.approx([61, 62, 63])
  assert FOUND.accuracies(results, 'control') == pytest.approx([51, 52])


def test_a_table_tells_the_rate_and_whether_it_is_at_the_edge(trained):
  results = trained(FAKE, share)
  table = FOUND.table(results, 'Numbers')
  assert table.rows['the new one'][1:4] == ('0.2', '1,000', '64')
  results = trained(FAKE, lambda settings: settings['learning_rate'])
  assert FOUND.table(results, '').rows['control'][1] == '0.3 (edge)'


def test_curves_are_means_over_seeds(trained):
  curves = FOUND.curves(trained(FAKE, share), '')
  (first, low), (last, high) = curves.series['the new one']
  assert (first, last) == (1, 2)
  assert low.estimate == pytest.approx(10)
  assert high.estimate == pytest.approx(62) and high.low < 62 < high.high


def test_a_run_that_stopped_early_shortens_the_curve(trained):
  results = trained(FAKE, share)
  name = f'run-new-lr0.2-seed{arms_lib.FIRST_SEED + 1}'
  figures = {**results[name].figures, 'curve': [[1, 0.3]]}
  results[name] = results[name]._replace(figures=figures)
  (point,) = FOUND.curves(results, '').series['the new one']
  assert point[1].estimate == pytest.approx(100 * (0.1 + 0.3 + 0.1) / 3)


def test_gains_are_of_equal_seeds(trained):
  results = trained(
      exhibit.Exhibit(*['.'] * 3, PAIRS.plan, lambda *_: {}, None, None, None),
      share,
  )
  gain = PAIRS.gain(results, 'new', 'old')
  assert gain.estimate == pytest.approx(10) and gain.n == 3
  assert gain.low == pytest.approx(10) == gain.high  # each seed by as much


PAIRS = arms_lib.Arms(
    {'new': 'the new one', 'old': 'the old one'},
    {
        'cpu': [
            arms_lib.sweep(
                'needle',
                OVERRIDES,
                {
                    'new': {'model.num_heads': 1},
                    'old': {'model.num_heads': 2},
                },
                rates=(0.1, 0.2),
                num_seeds=3,
            )
        ]
    },
)
