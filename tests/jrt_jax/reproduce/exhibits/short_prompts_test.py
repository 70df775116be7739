import pytest

from jrt_jax.reproduce import charts
from jrt_jax.reproduce.exhibits import short_prompts

EXHIBIT = short_prompts.EXHIBIT


def test_each_way_to_read_is_compared_with_padding(answers):
  results = answers(
      ('jrt-1', {'default': 0.3, 'twice': 0}, {'short_prompt': 'left_pad'}),
      ('jrt-1', {'default': 0.5}, {'short_prompt': 'read_twice'}),
      ('jrt-1', {'default': 0.4}, {'short_prompt': 'iterate'}),
      ('jrt-1', {'default': 0.9}, {}),  # not of this table
  )
  scores, gains, published = EXHIBIT.show(results)
  (row,) = scores.rows.values()
  assert [x.estimate for x in row] == pytest.approx([30, 50, 40])
  (row,) = gains.rows.values()
  assert [x.estimate for x in row] == pytest.approx([20, 10])
  assert [*published.rows.values()][1][0] == '82.0 / 43.3 / 32.9'
  assert EXHIBIT.verdict(results).word == 'holds'
  for piece in EXHIBIT.show(results):
    charts.check(piece)
