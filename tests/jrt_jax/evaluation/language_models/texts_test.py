"""Pairs, ends of texts and batches are what models of tokens share."""

import pytest

from jrt_jax.evaluation.language_models import texts


def letters(text):
  """A tokenizer with one merge, of a and b."""
  return [*text.replace('ab', '#')]


@pytest.mark.parametrize(
    ('context', 'continuation', 'expected'),
    [
        ('xy', ' z', ('xy', ' z')),
        ('xy ', 'z', ('xy', ' z')),  # the space goes to what follows
        ('xab', 'c', ('x#', 'c')),
        ('xa', 'bc', ('xa', 'bc')),  # no token lies on both sides
        ('', 'ab', ('', '#')),
        ('xy', '', ('xy', '')),
    ],
)
def test_a_pair_is_cut_where_the_context_ends(context, continuation, expected):
  found = texts.encode_pair(letters, context, continuation)
  assert found == tuple(map(list, expected))


def test_a_text_ends_before_the_first_stop():
  assert texts.before_stop('one. two\n', ['\n', '. ']) == 'one'
  assert (
      texts.before_stop('one', ['x']) == texts.before_stop('one', []) == 'one'
  )


def test_batches_of_similar_length_give_results_in_the_order_of_items():
  batches = []

  def run(batch):
    batches.append(batch)
    return [item.upper() for item in batch]

  found = texts.in_batches(
      run, ['a', 'bbb', 'cc', 'dddd', 'e'], length=len, batch_size=2, what=''
  )
  assert found == ['A', 'BBB', 'CC', 'DDDD', 'E']
  assert batches == [['dddd', 'bbb'], ['cc', 'a'], ['e']]


def test_a_batch_holds_something():
  with pytest.raises(ValueError, match='batch_size must be positive, got 0'):
    texts.in_batches(list, [], length=len, batch_size=0, what='')


def test_a_text_that_is_too_long_is_refused():
  texts.check_length('m', 7, 3, 10)
  texts.check_length('m', 7, 3, None)
  with pytest.raises(
      ValueError, match='^m reads at most 10 tokens, got 8 and 3'
  ):
    texts.check_length('m', 8, 3, 10)


@pytest.mark.parametrize('text', ['', ' two  words\nand ends ', 'a a\ta'])
def test_words_spell_the_text(text):
  words = texts.Words()
  ids = words.encode(text)
  assert words.decode(ids) == text
  assert words.encode(text) == ids
  assert len(ids) >= len(text.split())


def test_a_word_has_one_number():
  assert texts.Words().encode('a b b a') == [0, 1, 1, 2]  # ' a' is another
