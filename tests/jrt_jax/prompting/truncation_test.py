"""Contexts are cut as released evaluations cut them, or soundly."""

import hypothesis
from hypothesis import strategies as st
import pytest
import tokenizers as hf

from jrt_jax.data import tokenizers
from jrt_jax.prompting import templates
from jrt_jax.prompting import truncation

BYTES = tokenizers.Bytes()
FDA = {'text': '\nK160702 is an immunoassay.\n', 'key': 'assay', 'value': 'is'}
NQ = {'context': '[TLE] Rhine [PAR] It is 1,230 km long.'}


class Marked:
  """Has `<s>` before each text, as Llama's tokenizer in transformers has."""

  all_special_ids = [0]

  def encode(self, text):
    return [0, *map(ord, text)]

  def decode(self, ids):
    return ''.join(chr(i) if i else '<s>' for i in ids)


def test_a_cut_keeps_as_much_before_the_answer_as_after_its_start():
  context = ' ' + 'a' * 50 + 'Rhine' + 'b' * 45 + '\n'
  cut = truncation.truncate_context(context, BYTES, 20, ['RHINE'])
  assert cut == 'a' * 10 + 'Rhine' + 'b' * 5
  assert truncation.truncate_context(context, BYTES, 7) == 'a' * 7
  assert truncation.truncate_context(context, BYTES, 200) == context.strip()


def test_the_earliest_of_all_answers_counts():
  cut = truncation.truncate_context('abcdefghij', BYTES, 4, ['h', 'F'])
  assert cut == 'defg'


def test_released_cuts_of_a_context_without_its_answer_keep_its_end():
  context = ''.join(map(chr, range(ord('0'), ord('z'))))
  cut = truncation.truncate_context(context, BYTES, 20, ['none'])
  # The answer is taken to be the last character: half the budget is behind it.
  assert cut == context[-11:]


def test_released_cuts_are_short_where_the_answer_is_near_the_end():
  context = 'a' * 50 + 'Rhine'
  assert truncation.truncate_context(context, BYTES, 20, ['Rhine']) == (
      'a' * 10 + 'Rhine'
  )


def test_centred_cuts_spend_the_budget_wherever_the_answer_is():
  def cut(context, budget, *answers):
    return truncation.truncate_context(
        context, BYTES, budget, answers, rule='centred'
    )

  end, middle = 'a' * 50 + 'Rhine', 'a' * 50 + 'Rhine' + 'b' * 50
  assert cut(end, 20, 'rhine') == 'a' * 15 + 'Rhine'
  assert cut(middle, 15, 'rhine') == 'a' * 5 + 'Rhine' + 'b' * 5
  assert cut(middle, 3, 'rhine') == 'Rhi'
  assert cut(middle, 20, 'no') == 'a' * 20


@pytest.mark.parametrize('rule', truncation.RULES)
def test_special_tokens_are_no_text(rule):
  for answers in ([], ['Rhine'], ['no']):
    cut = truncation.truncate_context(
        'The Rhine', Marked(), 8, answers, rule=rule
    )
    assert cut and cut in 'The Rhine'
  # It has a place in the budget, as in released evaluations.
  assert (
      truncation.truncate_context('The Rhine', Marked(), 8, rule=rule)
      == 'The Rhi'
  )


def test_tokenizers_of_the_library_and_names_do():
  library = hf.Tokenizer(hf.models.WordLevel({'a': 0, 'b': 1}, unk_token='a'))
  library.pre_tokenizer = hf.pre_tokenizers.Whitespace()
  assert truncation.truncate_context('a b a a', library, 2) == 'a b'
  assert truncation.truncate_context('a b a a', 'bytes', 3) == 'a b'


def test_a_record_is_cut_around_the_first_of_its_answers():
  fda = truncation.truncate_record('fda', FDA, BYTES, 10)
  assert fda == {**FDA, 'text': '0702 is an'}
  nq = {**NQ, 'answers': ['1,230 km', 'Rhine']}
  nq = truncation.truncate_record('nq', nq, BYTES, 16)
  assert nq['context'] == '] It is 1,230 km'
  drop = truncation.truncate_record('drop', NQ, BYTES, 11)
  assert drop['context'] == '[TLE] Rhine'


def test_other_answers_of_a_record_are_looked_for_if_the_first_is_missing():
  record = {**NQ, 'answers': ['no'], 'alt_answers': ['none', 'rhine', '[TLE]']}
  cut = truncation.truncate_record('nq', record, BYTES, 10)
  assert cut['context'] == 'TLE] Rhine'


@pytest.mark.parametrize('answers', [['5'], [''], []])
def test_released_evaluations_leave_out_answers_of_one_character(answers):
  record = {'context': 'It is 5 km long.', 'answers': answers}
  assert truncation.truncate_record('nq', record, BYTES, 8) is None
  assert truncation.is_left_out('nq', record)
  assert not truncation.is_left_out('drop', record)
  kept = truncation.truncate_record('nq', record, BYTES, 16, rule='centred')
  assert kept == record


def test_the_summary_of_a_page_is_no_context_of_its_cut():
  record = {
      'text': '\nHeat (1995) | Michael Mann\n...Director:director:'
      'Summary of information above... Director: Michael Mann',
      'key': 'director',
      'value': 'Michael Mann',
  }
  cut = truncation.truncate_record('swde', record, BYTES, 1000)
  assert cut['text'].endswith('director:')
  prompt = templates.task_prompt('swde', cut)
  assert prompt == templates.task_prompt(
      'swde', {**record, 'text': cut['text']}
  )
  assert prompt.count('Michael Mann') == 2


def test_an_unknown_rule_is_named():
  with pytest.raises(ValueError, match="rule must be one of .* got 'end'"):
    truncation.truncate_context('text', BYTES, 5, rule='end')


@hypothesis.settings(deadline=None, derandomize=True)
@hypothesis.given(
    before=st.text('ab .\n', max_size=60),
    after=st.text('ab .\n', max_size=60),
    budget=st.integers(16, 80),
    rule=st.sampled_from([*truncation.RULES]),
)
def test_a_cut_has_the_answer_and_no_more_than_the_budget(
    before, after, budget, rule
):
  context = before + 'ANSWER' + after
  cut = truncation.truncate_context(
      context, BYTES, budget, ['answer'], rule=rule
  )
  assert 'ANSWER' in cut
  assert cut in context
  spent = len(cut) == min(budget, len(context.strip()))
  at_the_end = rule == 'released' and context.strip().endswith(cut)
  assert spent or at_the_end
