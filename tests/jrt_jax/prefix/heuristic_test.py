from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from jrt_jax.prefix import heuristic

rules = st.fixed_dictionaries(
    {
        'growth': st.sampled_from(sorted(heuristic.GROWTHS)),
        'increment': st.floats(0.01, 1),
        'base': st.floats(0.01, 1),
        'multiple': st.sampled_from([1, 8, 128]),
    }
)


@pytest.mark.parametrize(
    ('growth', 'increment', 'expected'),
    [
        ('linear', 0.05, [900, 950, 1000, 1050, 1100]),
        ('linear', 0.2, [600, 800, 1000, 1200, 1400]),
        ('geometric', 0.1, [826, 909, 1000, 1100, 1210]),
    ],
)
def test_a_level_adds_the_increment(settings, growth, increment, expected):
  prefix = settings(growth=growth, increment=increment, base=0.5)
  levels = range(-2, 3)
  assert [heuristic.length(u, 2000, prefix) for u in levels] == expected


def test_levels_count_thresholds_from_the_middle():
  values = (0.5, 1.5, 2.5)
  limits = [1.0, 2.0]
  both = [heuristic.level(v, limits, reduce=True) for v in values]
  grows = [heuristic.level(v, limits, reduce=False) for v in values]
  assert both == [-1, 0, 1]
  assert grows == [0, 0, 1]


def test_lengths_are_rounded_to_multiples(settings):
  prefix = settings(base=0.5, increment=0.2, multiple=128)
  lengths = [heuristic.length(u, 2048, prefix) for u in (-1, 0, 1)]
  assert lengths == [768, 1024, 1280]


@given(rule=rules, room=st.integers(0, 4096), u=st.integers(-9, 9))
def test_lengths_stay_within_their_bounds(rule, room, u):
  base = rule['base'] * room
  length = heuristic.length(u, room, rule)
  assert 0 <= length <= room
  assert base / 4 - 1 < length <= 2 * base


@given(rule=rules, room=st.integers(0, 4096), u=st.integers(-9, 9))
def test_a_higher_level_never_shortens_a_prefix(rule, room, u):
  lower, higher = (heuristic.length(i, room, rule) for i in (u, u + 1))
  assert lower <= higher


def test_thresholds_divide_the_corpus_at_its_quantiles(settings):
  prefix = settings(signal='distinct_ratio', quantiles=(0.25, 0.5, 0.75))
  windows = [np.arange(100) % k for k in range(1, 101)]
  np.testing.assert_allclose(
      heuristic.thresholds(windows, prefix), [0.2575, 0.505, 0.7525]
  )


def test_the_mean_is_over_the_shares_of_the_levels(settings):
  prefix = settings(quantiles=(0.1, 0.5), base=0.5, increment=0.2)
  expected = 0.1 * 800 + 0.4 * 1000 + 0.5 * 1200
  assert heuristic.mean_length(2000, prefix) == pytest.approx(expected)
  prefix['reduce'] = False
  assert heuristic.mean_length(2000, prefix) == pytest.approx(expected + 20)


def test_rounding_that_swallows_the_increment_is_warned_of(settings, caplog):
  prefix = settings(base=1.0, increment=0.05, multiple=128)
  lengths = {heuristic.length(u, 1024, prefix) for u in (-1, 0, 1)}
  assert lengths == {1024}  # a step is 51 tokens
  heuristic.warn_of_rounding(2048, prefix)  # here it is 102
  assert not caplog.messages
  heuristic.warn_of_rounding(1024, prefix)
  (message,) = caplog.messages
  assert 'config.prefix.multiple=128 rounds away the increment' in message


@pytest.mark.parametrize('quantiles', [(0.5, 0.5), (0.0, 0.5), (0.6, 0.4)])
def test_quantiles_that_do_not_rise_are_refused(settings, quantiles):
  message = 'config.prefix.quantiles must rise between 0 and 1, got'
  with pytest.raises(ValueError, match=message):
    heuristic.check(settings(quantiles=quantiles))
