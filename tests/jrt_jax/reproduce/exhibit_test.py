import math

import pytest

from jrt_jax.evaluation import statistics
from jrt_jax.reproduce import exhibit


@pytest.mark.parametrize(
    'value, shown',
    [
        (None, '–'),
        (math.nan, '–'),
        (1234.56, '1,234.6'),
        (-0.04, '0.0'),
        (-1.5, '−1.5'),
        ('6 of 96', '6 of 96'),
        (statistics.Estimate(11.04, 6.3, 15.2, 96, ''), '11.0 [6.3, 15.2]'),
        (statistics.Estimate(-1.0, -2.0, 0.0, 9, ''), '−1.0 [−2.0, 0.0]'),
        (statistics.Estimate(1.0, math.nan, math.nan, 1, ''), '1.0'),
        (statistics.Estimate(7.0, 7.0, 7.0, 5, ''), '7.0'),
        (statistics.mean([]), '–'),
        (statistics.crossed([[1, 3], [3, 5]]), '3.0 [1.0, 5.0]'),
    ],
)
def test_a_figure_is_shown_with_its_interval_if_it_has_one(value, shown):
  assert exhibit.text(value) == shown
