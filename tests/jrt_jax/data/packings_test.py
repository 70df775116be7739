import numpy as np
import pytest

from jrt_jax.data import objectives
from jrt_jax.data import packings

EOS = 9
WINDOW = np.array([1, 2, 3, EOS, 4, EOS, EOS, 5, 6], np.uint16)


def test_concatenated_documents_are_one_text():
  packed = packings.concat(WINDOW, EOS)
  (piece,) = packed.pieces
  assert piece.text.tolist() == WINDOW[:-1].tolist()
  assert packed.segment_ids is None


def test_documents_are_counted_from_the_start_of_the_window():
  packed = packings.documents(WINDOW, EOS)
  assert packed.segment_ids.tolist() == [0, 0, 0, 0, 1, 1, 2, 3, 3]
  assert packed.segment_ids.dtype == np.int32


@pytest.mark.parametrize(
    'window, text',
    [
        (WINDOW, [1, 2, 3]),
        ([EOS, 1, 2, 3], []),
        ([1, 2, 3, 4, EOS], [1, 2, 3, 4]),  # the last is a label only
    ],
)
def test_the_first_document_without_its_end_may_be_prefix(window, text):
  (piece,) = packings.documents(np.array(window), EOS).pieces
  assert piece.window.tolist() == list(window)
  assert piece.text.tolist() == text


def test_each_document_without_its_end_may_have_a_prefix():
  packed = packings.prefixed_documents(WINDOW, EOS)
  pieces = [[x.tolist() for x in piece] for piece in packed.pieces]
  assert pieces == [
      [[1, 2, 3, EOS, 4], [1, 2, 3]],
      [[4, EOS, EOS], [4]],
      [[EOS, 5], []],
      [[5, 6], [5]],
  ]
  ids = packings.documents(WINDOW, EOS).segment_ids
  np.testing.assert_array_equal(packed.segment_ids, ids)


@pytest.mark.parametrize('window', [[1, 2, 3, 4, EOS], [1, 2, 3, EOS, 5]])
def test_a_document_that_ends_with_the_row_is_one_piece(window):
  (piece,) = packings.prefixed_documents(np.array(window), EOS).pieces
  assert piece.window.tolist() == window


def labelled(*kinds):
  return {
      'targets': np.full(len(kinds), 7),
      'supervision': np.array(kinds, np.int8),
  }


def test_a_next_token_label_of_another_document_is_removed():
  example = labelled(*[objectives.NEXT_TOKEN] * 8)
  ids = packings.documents(WINDOW, EOS).segment_ids
  separated = packings.separate(example, ids)
  predicts = separated['supervision'] == objectives.NEXT_TOKEN
  assert predicts.tolist() == [1, 1, 1, 0, 1, 0, 0, 1]
  assert separated['targets'].tolist() == [7, 7, 7, 0, 7, 0, 0, 7]
  assert separated['segment_ids'].tolist() == [0, 0, 0, 0, 1, 1, 2, 3]


def test_a_label_of_a_masked_token_stays():
  example = labelled(objectives.MASKED_TOKEN, objectives.MASKED_TOKEN)
  separated = packings.separate(example, np.array([0, 1, 2]))
  assert separated['targets'].tolist() == [7, 7]


def test_one_text_keeps_its_labels():
  example = labelled(objectives.NEXT_TOKEN)
  assert packings.separate(example, None) is example
  assert example['targets'].tolist() == [7]


@pytest.mark.parametrize(
    'window, expected',
    [
        ([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 1, 2, 3, 4]),
        ([1, 2, 3, 4, 5, 6], [1, 2, 1, 2, 3, 4]),
        ([1, 2, EOS, 4, 5, 6, 7], [1, 2, 1, 2, EOS, 4, 5]),
        ([EOS, 2, 3, 4], [EOS, 2, 3, 4]),
        ([1, 2], [1, 2]),
    ],
)
def test_the_first_document_or_half_of_the_window_is_read_twice(
    window, expected
):
  assert packings.repeated(np.array(window), EOS).tolist() == expected


def test_a_document_that_is_read_twice_stays_one_document():
  packed = packings.documents(packings.repeated(WINDOW, EOS), EOS)
  assert packed.segment_ids.tolist() == [0] * 7 + [1, 1]
  assert packed.pieces[0].text.tolist() == [1, 2, 3, 1, 2, 3]  # both readings


@pytest.mark.parametrize(
    'packing, prefix, expected',
    [
        ('concat', 'fixed', 4),
        ('documents', 'fixed', 4),
        ('prefixed_documents', 'fixed', 8),
        ('prefixed_documents', 'none', 0),
    ],
)
def test_the_last_document_of_a_row_may_have_a_prefix(
    packing, prefix, expected
):
  config = {
      'sequence_length': 8,
      'prefix': {'name': prefix, 'capacity': 0.5},
      'data': {'packing': packing},
  }
  assert packings.prefix_capacity(config) == expected
