import pytest

from jrt_jax.reproduce import charts
from jrt_jax.reproduce.exhibits import beyond_prefix

EXHIBIT = beyond_prefix.EXHIBIT


def test_each_choice_of_a_prefix_is_compared_with_a_model_without_one(answers):
  results = answers(
      ('jrt-1', {'default': 0.2}, {'long_prompt': 'head'}),
      ('jrt-1', {'default': 0.6}, {'long_prompt': 'blocks'}),
      ('based-1', {'default': 0.4}, {'long_prompt': 'head'}),
      ('jrt-1', {'default': 0.9}, {}),  # not of this table
  )
  scores, gains, _ = EXHIBIT.show(results)
  assert scores.columns[-1] == 'Based'
  (row,) = gains.rows.values()
  assert [x.estimate for x in row] == pytest.approx([-20, 20])
  assert EXHIBIT.verdict(results).word == 'fails'  # it is about the head
  for piece in EXHIBIT.show(results):
    charts.check(piece)
