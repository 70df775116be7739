import logging

import pytest

from pallas_kernels import dispatch


def refuse(reason):
  def implementation(x):
    raise NotImplementedError(reason)

  return implementation


IMPLEMENTATIONS = {
    'fast': refuse('no such GPU'),
    'plain': lambda x: ('plain', x),
    'slow': lambda x: ('slow', x),
}


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (tuple(IMPLEMENTATIONS), 'plain'),
        ('slow', 'slow'),
        (['slow', 'plain'], 'slow'),
        (('fast', 'slow', 'plain'), 'slow'),
    ],
)
def test_the_first_name_that_takes_the_inputs_runs(names, expected):
  assert dispatch.run('op', IMPLEMENTATIONS, names, x=1) == (expected, 1)


def test_an_unknown_name_is_refused_before_any_runs():
  message = r"one of \['fast', 'plain', 'slow'\], got 'quick'"
  with pytest.raises(ValueError, match=message):
    dispatch.run('op', IMPLEMENTATIONS, ['slow', 'quick'], 1)


def test_every_refusal_is_reported_with_its_reason():
  table = {'a': refuse('D is odd'), 'b': refuse('float64')}
  with pytest.raises(NotImplementedError, match='a: D is odd; b: float64'):
    dispatch.run('op', table, ('a', 'b'), 1)


def test_no_other_error_makes_the_next_one_run():
  def broken(x):
    raise ValueError('a bug')

  with pytest.raises(ValueError, match='a bug'):
    dispatch.run(
        'op', {'broken': broken, **IMPLEMENTATIONS}, ('broken', 'plain'), 1
    )


def test_what_ran_is_told_once_with_the_reasons_against_the_others(caplog):
  caplog.set_level(logging.INFO)
  for x in range(2):
    names, unfit = ('slow', 'fast', 'plain'), {'slow': 'it is quadratic'}
    dispatch.run('told', IMPLEMENTATIONS, names, x, unfit=unfit)
  assert caplog.messages == [
      'told runs plain, not slow: it is quadratic; fast: no such GPU'
  ]
