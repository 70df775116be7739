import pytest

from jrt_jax.data.synthetic import curriculum

SIZES = (4, 8, 16)


def settings(name, *steps):
  return {'curriculum': name, 'stage_steps': steps}


@pytest.mark.parametrize(
    'name, at_2, at_3, at_7, at_8',
    [
        ('one_by_one', (4,), (8,), (8,), (16,)),
        ('cumulative', (4,), (4, 8), (4, 8), SIZES),
    ],
)
def test_sizes_change_at_the_steps_that_are_given(name, at_2, at_3, at_7, at_8):
  known = lambda step: curriculum.known(SIZES, settings(name, 3, 5), step)
  assert [known(step) for step in (2, 3, 7, 8)] == [at_2, at_3, at_7, at_8]
  assert known(0) == at_2 and known(10**6) == at_8


def test_without_stages_all_sizes_are_there_from_the_start():
  assert curriculum.known(SIZES, settings('mixed'), 0) == SIZES


@pytest.mark.parametrize(
    'given', [settings('mixed', 3), settings('cumulative', 3)]
)
def test_stages_that_do_not_fit_the_sizes_are_refused(given):
  with pytest.raises(ValueError, match='stage_steps must have [02] numbers'):
    curriculum.check(given, 3)
