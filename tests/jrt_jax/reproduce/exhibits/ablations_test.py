import pytest

from jrt_jax.reproduce import charts
from jrt_jax.reproduce.exhibits import ablations

EXHIBIT = ablations.EXHIBIT


def shares(gain, gain_with_window, attention=1.0):
  def share(settings):
    mixers = settings['overrides']['model.mixers']
    if mixers[1] == 'attention':
      return attention
    added = gain_with_window if 'swa' in mixers else gain
    return 0.5 + (added if mixers[1] == 'pla' else 0)

  return share


@pytest.mark.parametrize(
    'gains, word',
    [
        ((0.2, 0.1), 'holds'),
        ((0.2, 0.0), 'partly'),
        ((0.0, 0.0), 'open'),
        ((0.0, -0.1), 'open'),
        ((-0.1, -0.1), 'fails'),
        ((0.2, 0.1, 0.9), 'void'),
    ],
)
def test_a_prefix_must_gain_with_and_without_windows(trained, gains, word):
  assert EXHIBIT.verdict(trained(EXHIBIT, shares(*gains))).word == word


def test_parts_stand_beside_what_was_published(trained):
  parts, *rest = EXHIBIT.show(trained(EXHIBIT, shares(0.2, 0.1)))
  swde, fda, ours = parts.rows['a prefix, no window']
  assert swde == pytest.approx(7.2) and fda == pytest.approx(32.2)
  assert ours.estimate == pytest.approx(20)
  assert parts.rows['masked tokens'][:2] == (None, None)
  for piece in (parts, *rest):
    charts.check(piece)
