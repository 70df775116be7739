import numpy as np
import pytest

from jrt_jax.data import packings
from jrt_jax.data.objectives import jrt
from jrt_jax.data.objectives import MASKED_TOKEN
from jrt_jax.data.objectives import NEXT_TOKEN
from jrt_jax.data.objectives import next_token

EOS = 9
MASK = 100
SETTINGS = {'mask_rate': 1.0, 'boundary': 'predict', 'token_zero': 'predict'}
WINDOW = np.array([1, 2, 3, EOS, 4, EOS, EOS, 5, 6], np.uint16)


def pack(name, window=WINDOW, make=jrt, policy=len, settings=SETTINGS):
  """Packs with a prefix of `policy(tokens)`."""

  def make_example(window, prefix_len, *, rng):
    return make(window, prefix_len, objective=settings, mask_id=MASK, rng=rng)

  return packings.PACKINGS[name](
      window,
      policy=lambda tokens, rng: policy(tokens),
      make_example=make_example,
      eos_id=EOS,
      rng=np.random.default_rng(0),
  )


def test_concatenated_documents_are_one_text():
  example = pack('concat', make=next_token, policy=lambda tokens: 0)
  assert example['tokens'].tolist() == WINDOW[:-1].tolist()
  assert example['targets'].tolist() == WINDOW[1:].tolist()
  assert (example['supervision'] == NEXT_TOKEN).all()
  assert 'segment_ids' not in example


def test_documents_are_counted_from_the_start_of_the_window():
  example = pack('documents')
  assert example['segment_ids'].tolist() == [0, 0, 0, 0, 1, 1, 2, 3]
  assert example['segment_ids'].dtype == np.int32


def test_no_label_crosses_the_end_of_a_document():
  example = pack('documents', make=next_token, policy=lambda tokens: 0)
  predicts = example['supervision'] == NEXT_TOKEN
  assert predicts.tolist() == [1, 1, 1, 0, 1, 0, 0, 1]
  assert example['targets'].tolist() == [2, 3, EOS, 0, EOS, 0, 0, 6]


def test_the_policy_sees_the_first_document_only_without_its_end():
  seen = []
  pack('documents', policy=lambda tokens: seen.append(tokens.tolist()) or 0)
  assert seen == [[1, 2, 3]]


def test_a_prefix_leaves_a_label_of_the_first_document():
  example = pack('documents', policy=len)
  predicts = example['supervision'] == NEXT_TOKEN
  assert predicts[: example['prefix_len']].tolist() == [0, 0, 1]
  assert example['targets'][2] == EOS


def test_a_window_that_begins_with_an_end_has_no_tokens_for_a_prefix():
  example = pack('documents', np.array([EOS, 1, 2, 3]))
  assert example['prefix_len'] == 0
  assert example['segment_ids'].tolist() == [0, 1, 1]


def test_the_policy_sees_a_window_without_ends_whole():
  window = np.array([1, 2, 3, 4, EOS])  # the last is a label only
  example = pack('documents', window)
  assert example['prefix_len'] == 4
  assert example['segment_ids'].tolist() == [0, 0, 0, 0]
  assert example['targets'][-1] == EOS


def test_masks_lie_in_the_prefix():
  example = pack('documents')
  assert example['prefix_len'] == 3
  assert example['tokens'].tolist() == [MASK] * 2 + WINDOW[2:-1].tolist()
  masked = example['supervision'] == MASKED_TOKEN
  assert masked.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_the_end_of_a_document_is_never_masked():
  reference = SETTINGS | {'boundary': 'reference'}  # masks the last one too
  example = pack('documents', settings=reference)
  assert example['tokens'].tolist() == [MASK] * 3 + WINDOW[3:-1].tolist()
  assert example['segment_ids'].tolist() == [0, 0, 0, 0, 1, 1, 2, 3]


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
  example = pack('documents', packings.repeated(WINDOW, EOS), policy=len)
  assert example['segment_ids'].tolist() == [0] * 7 + [1]
  assert example['prefix_len'] == 6  # both readings


@pytest.mark.parametrize('name', packings.PACKINGS)
def test_a_window_of_one_document_is_the_same_in_all_packings(name):
  window = np.arange(10, 20)
  example = pack(name, window, policy=lambda tokens: 4)
  example.pop('segment_ids', None)
  np.testing.assert_equal(
      example, pack('concat', window, policy=lambda tokens: 4)
  )
