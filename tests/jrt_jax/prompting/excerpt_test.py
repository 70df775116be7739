"""Excerpts keep what a question is about, wherever it is."""

import pytest

from jrt_jax.prompting import excerpt
from jrt_jax.prompting import saliency

FILLER = 'The device was tested at three sites and met all criteria there. '
FACTS = {
    'Measurand:': 'B Measurand: antibodies against the Sm protein',
    'Predicate device name:': 'Predicate device name(s): XN CAL calibrator',
    'Product code:': '3. Product code: LCX in a table | of | many | columns',
    'Who is the applicant?': 'The applicant of the file is Phadia AB.',
}
DOCUMENT = FILLER * 12 + (' ' + FILLER * 12).join(FACTS.values()) + FILLER * 12


def count_words(text):
  return len(text.split())


def ask(question, budget, document=DOCUMENT, kind=saliency.bm25):
  return excerpt.excerpt(document, question, kind, count_words, budget)


@pytest.mark.parametrize('budget', [60, 120, 400])
@pytest.mark.parametrize('question', FACTS)
def test_the_answer_survives_a_budget(question, budget):
  text, _ = ask(question, budget)
  assert FACTS[question] in text
  assert count_words(text) <= budget


def test_what_follows_the_words_of_the_question_is_read_too():
  answer = ' '.join(f'item{i}' for i in range(15))
  text, _ = ask('Contents:', 60, f'{FILLER * 9}Contents: {answer} {FILLER * 9}')
  assert answer in text


def test_passages_and_what_is_cut_are_the_document_in_order():
  document = ' '.join(f'{word}{i}' for word in 'abcd' for i in range(40))
  text, cut = ask('b20 d5?', 60, document)
  passages = text.split('\n\n')
  assert len(passages) == 2 and len(cut) == 3
  parts = [cut[0], passages[0], cut[1], passages[1], cut[2]]
  assert ' '.join(part.strip() for part in parts) == document


def test_the_budget_is_spent():
  for budget in (100, 300):
    assert count_words(ask('Measurand:', budget).text) > budget - 12


def test_a_saliency_decides():
  assert DOCUMENT.startswith(ask('Measurand:', 50, kind=saliency.lead).text)


def test_a_budget_that_is_too_small_is_refused():
  with pytest.raises(ValueError, match=r'budget must be at least \d+ .* got 3'):
    ask('Measurand:', 3)
