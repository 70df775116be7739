import pytest

from jrt_jax.reproduce import charts
from jrt_jax.reproduce.exhibits import set_disjointness_trained

EXHIBIT = set_disjointness_trained.EXHIBIT


def results(trained, *, causal, both, control=1.0):
  """With what an arm has right if the smaller set is first, and the larger."""
  orders = {'la': causal, 'pla': both, 'attention': (control, control)}
  found = trained(EXHIBIT, lambda settings: 0.9)
  for done in found.values():
    arm = done.settings['overrides']['model.mixers'][1]
    seed = 0.001 * done.settings['seed'] * (arm == 'la')
    figures = zip(('2x16', '16x2'), orders[arm])
    for size, share in figures:
      done.figures[f'answer_accuracy_{size}'] = share - seed * (size == '16x2')
  return found


@pytest.mark.parametrize(
    'causal, both, control, word',
    [
        ((0.9, 0.5), (0.9, 0.9), 1.0, 'holds'),
        ((0.9, 0.5), (0.9, 0.2), 1.0, 'partly'),
        ((0.5, 0.9), (0.9, 0.9), 1.0, 'fails'),
        ((0.9, 0.5), (0.9, 0.9), 0.9, 'void'),
    ],
)
def test_the_order_must_matter_to_the_causal_model_most(
    trained, causal, both, control, word
):
  found = results(trained, causal=causal, both=both, control=control)
  assert EXHIBIT.verdict(found).word == word


def test_both_orders_are_shown(trained):
  found = results(trained, causal=(0.9, 0.5), both=(0.9, 0.9))
  orders, *_ = EXHIBIT.show(found)
  row = orders.rows['prefix linear attention']
  assert [x.estimate for x in row] == pytest.approx([90, 90, 0])
  for piece in EXHIBIT.show(found):
    charts.check(piece)
