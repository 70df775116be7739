import math

import hypothesis
from hypothesis import strategies as st
import pytest

from jrt_jax.evaluation import statistics
from jrt_jax.reproduce import charts
from jrt_jax.reproduce import exhibit

VALUES = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=1)


@hypothesis.given(VALUES)
def test_an_axis_holds_all_values_and_has_few_round_ticks(values):
  axis = charts.linear(values)
  assert all(0 <= axis.at(x) <= 100 for x in values)
  assert 2 <= len(axis.ticks) <= 9
  assert axis.ticks == sorted(axis.ticks)
  if len({*values}) > 1:
    assert axis.at(max(values)) > axis.at(min(values))


@hypothesis.given(st.lists(st.floats(1e-6, 1e6), min_size=1))
def test_a_logarithmic_axis_holds_all_values(values):
  axis = charts.logarithmic(values)
  assert all(0 <= axis.at(x) <= 100 for x in values)
  assert 1 <= len(axis.ticks) <= 10


def test_equal_factors_are_equally_far_on_a_logarithmic_axis():
  axis = charts.logarithmic([512, 8192])
  assert axis.ticks == [512, 1024, 2048, 4096, 8192]
  steps = [axis.at(b) - axis.at(a) for a, b in zip(axis.ticks, axis.ticks[1:])]
  assert max(steps) - min(steps) < 0.1


def test_a_value_below_zero_cannot_lie_on_a_logarithmic_axis():
  with pytest.raises(ValueError, match='must be > 0'):
    charts.logarithmic([1, -1])


def test_whiskers_are_the_interval_and_larger_values_are_higher():
  low = statistics.Estimate(1.0, 0.5, 2.0, 9, '')
  lines = exhibit.Lines({'a': [(1, low), (2, 5.0), (3, None)]}, x='n', y='ms')
  first, second = charts.plot(lines).series['a']
  assert second.y < first.y and second.x > first.x
  assert first.high < first.y < first.low
  assert second.low == second.y == second.high


def test_what_is_not_known_is_not_drawn():
  unknown = statistics.Estimate(math.nan, math.nan, math.nan, 0, '')
  point = statistics.Estimate(1.0, math.nan, math.nan, 1, '')
  assert charts.interval(unknown) is charts.interval(None) is None
  assert charts.interval('a few') is None
  assert charts.interval(point) == (1, 1, 1)
