import numpy as np

from jrt_jax.data import ngrams

ROW = {
    'id': 'x1',
    'question': 'Which assay measures troponin?',
    'docs': [{'text': 'The assay measures troponin in plasma.'}],
    'label': 3,
}


def shared(rows, document, n):
  rows = ngrams.Rows(rows, n)
  return rows.shared(ngrams.distinct(document, n))


def test_words_in_a_row_are_the_same_in_any_case_and_punctuation():
  one = ngrams.hashes('The assay -- measures\n"Troponin".', 4)
  other = ngrams.hashes('the ASSAY measures, troponin', 4)
  assert one.tolist() == other.tolist() and len(one) == 1


def test_the_order_and_the_number_of_words_count():
  base = ngrams.hashes('a b c d', 3)
  assert len(base) == len(set(base)) == 2
  for other in ('b a c', 'a a b', 'a b', 'abc', 'c b a'):
    assert not set(base) & set(ngrams.hashes(other, 3))


def test_runs_do_not_reach_from_one_string_of_a_row_into_the_next():
  assert len(shared([ROW], 'the assay measures troponin in serum', 4)) == 2
  assert not len(shared([ROW], 'measures troponin the assay', 4))
  assert not len(shared([ROW], 'troponin in plasma', 4))  # too few words


def test_a_row_with_too_few_words_has_none():
  rows = ngrams.Rows([ROW, {'text': 'only three words'}, {'n': 4}], 4)
  assert rows.having(None) == 2
  assert not len(ngrams.Rows([], 4).shared(ngrams.distinct('a b c d e', 4)))


def test_what_many_documents_have_is_a_phrase_and_does_not_count():
  rows = ngrams.Rows([{'text': 'a b c d'}, {'text': 'b c d e'}], 3)
  for document in ('a b c', 'b c d', 'b c d', 'b c d'):
    rows.found[rows.shared(ngrams.distinct(document, 3))] += 1
  assert rows.having(rows.counted(0)) == 2
  assert rows.having(rows.counted(2)) == 1  # `a b c` stands in the first only
  assert np.sort(rows.found).tolist() == [0, 1, 3]
