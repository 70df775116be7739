"""Each kind of prompt reads what its order says."""

import pytest

from jrt_jax.prompting import prompts
from jrt_jax.prompting import templates

ONCE = templates.Parts('Ask.', 'It rains', 'Does it?', 'It rains; does it?')
AGAIN = templates.Parts('Ask.', 'It rains.', 'Does it?', 'It rains. Does it?')
TEXTS = {
    'default': 'It rains; does it?',
    'twice': 'Ask. It rains.\nIt rains. Does it?',
    'question_first': 'Ask. It rains. Does it?',
    'context_twice': 'It rains.\nIt rains. Does it?',
    'shared_context': 'It rains. Does it?\nIt rains. Does it?',
    'hierarchical': 'Ask. It rains.\nIt rains. Does it?',
}


@pytest.mark.parametrize('name', prompts.PROMPTS)
def test_each_kind_reads_what_its_order_says(name):
  assert prompts.prompt(name, ONCE, AGAIN) == TEXTS[name]


def test_released_prompts_are_among_them():
  record = {'text': '\nK1 is made by Phadia.\n', 'key': 'applicant'}
  once, again = (
      templates.task_parts('fda', record, once=once) for once in (True, False)
  )
  for name, p in (('default', 1), ('twice', 2)):
    released = templates.task_prompt('fda', record, p)
    assert prompts.prompt(name, once, again) == released


def test_hierarchical_repeats_what_the_question_is_about():
  context = 'Ann likes tea. Bob likes coffee. Cid likes milk. Dan likes beer.'
  parts = templates.Parts('What does Bob like?', context, 'Bob likes', '')
  text = prompts.prompt('hierarchical', parts, parts)
  assert text.startswith(f'What does Bob like? {context}\n')
  assert text.endswith(' Bob likes')
  assert (text.count('Bob likes coffee'), text.count('Dan likes beer')) == (
      2,
      1,
  )


@pytest.mark.parametrize('name', [n for n in TEXTS if n != 'hierarchical'])
def test_what_has_no_question_is_read_without_spaces_around(name):
  text = 'It rains'
  parts = templates.Parts('', text, '', text)
  assert prompts.prompt(name, parts, parts) in (text, f'{text}\n{text}')


def test_a_hierarchical_prompt_needs_a_question():
  parts = templates.Parts('', 'It rains.', '', 'It rains.')
  with pytest.raises(
      ValueError, match='need a context and a question, got 9 a'
  ):
    prompts.prompt('hierarchical', parts, parts)


def test_an_unknown_kind_names_those_that_there_are():
  with pytest.raises(ValueError, match="one of default, .*, got 'thrice'"):
    prompts.prompt('thrice', ONCE, AGAIN)
