import functools

import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models.context import Context
from jrt_jax.models.context import count_documents
from jrt_jax.models.context import of_rows

SEGMENTS = [[0, 0, 0, 1, 1, 2], [0, 0, 0, 0, 0, 0]]
MASK = [[False, True, True, True, False, False], [True] * 6]


def make(*, segments=False, mask=False):
  return Context(
      2,
      6,
      segment_ids=jnp.array(SEGMENTS) if segments else None,
      mask=jnp.array(MASK) if mask else None,
  )


@pytest.mark.parametrize(
    'given, expected',
    [
        ({}, [[0, 1, 2, 3, 4, 5]] * 2),
        ({'segments': True}, [[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]]),
    ],
)
def test_positions_count_from_the_start_of_each_document(given, expected):
  np.testing.assert_array_equal(make(**given).positions(), expected)


def test_positions_count_from_the_first_token_after_padding():
  context = make(segments=True, mask=True)
  positions = context.positions()[0]
  np.testing.assert_array_equal(positions[jnp.array(MASK[0])], [0, 1, 0])


def test_the_last_token_is_before_the_padding():
  np.testing.assert_array_equal(make().last(), [5, 5])
  np.testing.assert_array_equal(make(mask=True).last(), [3, 5])
  x = jnp.arange(12).reshape(2, 6)
  np.testing.assert_array_equal(make(mask=True).at_last(x), [3, 11])


def test_the_length_is_that_of_the_last_document():
  np.testing.assert_array_equal(make().document_length(), [6, 6])
  context = make(segments=True, mask=True)
  np.testing.assert_array_equal(context.document_length(), [1, 6])
  nothing = context._replace(mask=jnp.zeros((2, 6), bool))
  np.testing.assert_array_equal(nothing.document_length(), [0, 0])


def test_everything_is_one_document_unless_said_otherwise():
  assert make().same_document(1) is None


@pytest.mark.parametrize('shift', [1, 2, 4])
def test_a_shifted_token_is_known_to_be_of_the_same_document(shift):
  same = make(segments=True, mask=True).same_document(shift)
  for b, i in np.ndindex(2, 6):
    if i >= shift:  # before the row there is nothing to see
      j = i - shift
      expected = MASK[b][j] and SEGMENTS[b][i] == SEGMENTS[b][j]
      assert same[b, i] == expected


def test_a_mask_says_which_tokens_are_prefix_of_their_documents():
  marked = jnp.array([[True, True, False, True, False, False]] * 2)
  context = make(mask=True)._replace(prefix_capacity=4, prefix_mask=marked)
  expected = [[False, True, False, True], [True, True, False, True]]
  np.testing.assert_array_equal(context.in_prefix(), expected)


def test_a_prefix_has_a_length_or_a_mask():
  rows = functools.partial(of_rows, (1, 3), pad_mask='exclude')
  length, marked = jnp.array([2]), jnp.ones((1, 3), bool)
  with pytest.raises(ValueError, match='^prefix_len must be None if prefix_m'):
    rows(length, None, None, None, prefix_mask=marked)
  assert rows(None, None, None, None).prefix_capacity == 0
  assert rows(None, None, None, None, prefix_mask=marked).prefix_capacity == 3


def test_documents_are_counted_by_changes_of_the_id():
  ids = jnp.array([[4, 4, 1, 4, 4, 0]])
  np.testing.assert_array_equal(
      count_documents(ids, None), [[0, 0, 1, 2, 2, 3]]
  )


def test_padding_belongs_to_the_document_beside_it():
  ids = jnp.array([[0, 5, 5, 7, 0, 0]])
  mask = jnp.array([[False, True, True, True, False, False]])
  np.testing.assert_array_equal(
      count_documents(ids, mask), [[0, 0, 0, 1, 1, 1]]
  )
