import math

import hypothesis
from hypothesis import strategies as st
import pytest

from jrt_jax.schema import AnyOf
from jrt_jax.schema import Anything
from jrt_jax.schema import Fields
from jrt_jax.schema import Flag
from jrt_jax.schema import ListOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import Real
from jrt_jax.schema import Text
from jrt_jax.schema import Whole

SHARD = Fields({'file': Text(8), 'tokens': Whole(1, 9)})

# What JSON and Python have, of any size.
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=100),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ('schema', 'good', 'bad', 'message'),
    [
        (Whole(1, 2000), 2000, 0, 'a whole number from 1 to 2,000, got 0'),
        (Whole(0, 1), 1, True, 'a whole number from 0 to 1, got True'),
        (Whole(0, 1), 1, 1.0, 'a whole number from 0 to 1, got 1.0'),
        (Whole(0, 1), 1, 10**400, 'a whole number from 0 to 1, got 1000'),
        (Real(0, 1), 1, math.nan, 'a number from 0 to 1, got nan'),
        (Real(0, 1), 0.5, math.inf, 'a number from 0 to 1, got inf'),
        (Real(1e-9, 1), 1e-9, 10**400, 'a number from 1e-09 to 1, got 1000'),
        (Real(0, 1), 0, '0', "a number from 0 to 1, got '0'"),
        (OneOf('a', 'b'), 'b', [], r'one of a, b, got \[\]'),
        (OneOf(None), None, 0, 'None, got 0'),
        (OneOf(-1), -1, -1.0, '-1, got -1.0'),
        (Text(2), 'ab', 'abc', "a text of at most 2 characters, got 'abc'"),
        (Text(2), '', None, 'a text of at most 2 characters, got None'),
        (Flag(), False, 0, 'True or False, got 0'),
        (
            AnyOf(OneOf(-1), Whole(1, 9)),
            -1,
            0,
            '-1 or a whole number from 1 to 9, got 0',
        ),
        (
            ListOf(Flag(), 1, 2),
            (True,),
            [True] * 3,
            'a list of 1 to 2, each True or False, got 3',
        ),
        (ListOf(Flag(), 0, 2), [], 'ab', "each True or False, got 'ab'"),
        (SHARD, {'file': '', 'tokens': 1}, 7, 'an object with keys, got 7'),
    ],
)
def test_what_it_must_be_and_what_it_is_is_said(schema, good, bad, message):
  schema.check('key', good)
  with pytest.raises(ValueError, match=f'^key must be .*{message}'):
    schema.check('key', bad)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        ({'shards': [{'file': 'a', 'tokens': 0}]}, r'shards\[0\].tokens must'),
        ({'shards': [{'file': 'a'}]}, r'shards\[0\].tokens must be given'),
        ({}, 'shards must be given, it is missing'),
        ({'shards': [], 'x\n': 1}, r"must not have the key 'x\\n'"),
        ([], r'must be an object with keys, got \[\]'),
    ],
)
def test_a_value_inside_a_file_is_named_by_its_place(value, message):
  manifest = Fields({'shards': ListOf(SHARD, 0, 9)})
  with pytest.raises(ValueError, match=f'^manifest.json: {message}'):
    manifest.check('manifest.json:', value)


def test_a_key_may_be_missing_or_unknown_where_that_is_said():
  schema = Fields({}, optional={'a': Flag()}, others=Real(0, 1))
  schema.check('it', {})
  schema.check('it', {'a': True, 'b': 0.5})
  with pytest.raises(ValueError, match="^it.'b' must be a number"):
    schema.check('it', {'b': 'x'})
  Fields({}, others=Anything()).check('it', {'b': object()})


@hypothesis.settings(deadline=None)
@hypothesis.given(values)
def test_any_value_is_allowed_or_refused_in_one_short_line(value):
  schema = Fields(
      {'a': Whole(0, 9)},
      optional={'b': ListOf(Real(0, 1), 0, 3), 'c': {'d': Text(5)}},
      others=AnyOf(Flag(), OneOf('x', None)),
  )
  for x in (value, {'a': 1, 'b': value}, {'a': 1, 'c': {'d': value}}):
    try:
      schema.check('config', x)
    except ValueError as error:
      assert str(error).startswith('config')
      assert '\n' not in str(error) and len(str(error)) < 300
