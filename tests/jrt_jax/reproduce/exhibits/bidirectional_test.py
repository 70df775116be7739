import pytest

from jrt_jax.reproduce import charts
from jrt_jax.reproduce.exhibits import bidirectional

EXHIBIT = bidirectional.EXHIBIT


@pytest.mark.parametrize(
    'pla, causal, word',
    [
        (0.98, 0.16, 'holds'),
        (0.5, 0.16, 'partly'),
        (0.16, 0.16, 'open'),
        (0.98, 0.3, 'void'),  # answers could be told from what was before
    ],
)
def test_causal_models_must_be_at_chance(trained, pla, causal, word):
  results = trained(
      EXHIBIT,
      lambda settings: {'pla': pla}.get(
          settings['overrides']['model.mixers'][1], causal
      ),
  )
  assert EXHIBIT.verdict(results).word == word
  table, curves = EXHIBIT.show(results)
  assert table.marks == {'chance': pytest.approx(100 * 2 / 12)}
  charts.check(table), charts.check(curves)
