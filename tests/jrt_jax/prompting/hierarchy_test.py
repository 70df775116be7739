"""Hierarchical prompts: what is repeated, in which order, and how much."""

import functools
import math
import re

import hypothesis
from hypothesis import strategies as st
import pytest

from jrt_jax.prompting import hierarchy
from jrt_jax.prompting import saliency
from jrt_jax.prompting import segment
from jrt_jax.prompting import templates

# Sentences of eight words and more, so that none joins another.
RHINE = 'The Rhine is a river of Europe and 1,230 km long.'
SKY = 'The sky is said to be blue on most days.'
NILE = 'The Nile is a river of Africa and a long one.'
CONTEXT = f'{SKY} {RHINE}\n\n{NILE} {SKY}\n\n{SKY}'

DOCUMENTS = st.text(min_size=1) | st.lists(
    st.sampled_from([RHINE, SKY, NILE, ' ', '\n', '\n\n', 'No. ', '本。', '𝒳']),
    min_size=1,
    max_size=30,
).map(''.join)
LEVELS = st.lists(st.sampled_from([*hierarchy.LEVELS]), max_size=3)
# Of any tokenizer: also of one that has more tokens for two texts together.
COUNTS = st.sampled_from(
    [
        len,
        lambda text: len(text.split()),
        lambda text: len(text.encode(errors='replace')) // 3 + 2,
        lambda text: len(text) ** 2 // 50,
    ]
)
properties = functools.partial(
    hypothesis.settings, deadline=None, derandomize=True
)


def count_words(text):
  return len(text.split())


def prompt(context=CONTEXT, question='How long is the Rhine?', **options):
  return hierarchy.hierarchical_prompt(
      context, question, count_words, **options
  )


def characters(text):
  return ''.join(text.split())


def repeated(pieces):
  return [
      (level, text.strip())
      for level, text in pieces
      if level not in ('question', 'context')
  ]


@properties()
@hypothesis.given(DOCUMENTS, LEVELS, COUNTS)
def test_all_of_each_level_is_the_flat_prompt(context, repeats, count):
  actual = hierarchy.hierarchical_prompt(
      context, 'Q?', count, repeats=repeats, ratio=1, overlap=0, intro='I'
  )
  order = f'Q{"D" * (1 + len(repeats))}Q'
  expected = templates.jrt_prompt(context, 'Q?', order=order, intro='I')
  assert actual.text == expected
  assert not actual.left_out and not actual.cut


@pytest.mark.parametrize('task', ['fda', 'swde', 'nq', 'triviaqa', 'drop'])
def test_all_of_a_level_is_the_released_prompt(task):
  record = dict(text=CONTEXT, context=CONTEXT, key='river', question='It is')
  record['orig_question'] = 'Which river?'
  parts = templates.task_parts(task, record)
  actual = prompt(parts.context, parts.question, ratio=1, intro=parts.intro)
  assert actual.text == templates.task_prompt(task, record)


@properties(max_examples=200)
@hypothesis.given(
    DOCUMENTS,
    LEVELS,
    COUNTS,
    st.integers(0, 400),
    st.floats(0, 1),
    st.sampled_from([*hierarchy.ORDERS]),
)
def test_the_budget_is_never_exceeded(
    context, repeats, count, budget, ratio, order
):
  ask = functools.partial(
      hierarchy.hierarchical_prompt,
      context,
      'Rhine?',
      count,
      repeats=repeats,
      ratio=ratio,
      order=order,
  )
  try:
    limited = ask(budget=budget)
  except ValueError as error:
    least = re.match(r'budget must be at least (\d+) ', str(error))
    assert int(least[1]) > budget
    return
  assert count(limited.text) <= budget
  read = ''.join(p.text for p in limited.pieces if p.level == 'context')
  assert read or context.isspace()
  rest = ''.join(limited.cut)
  assert sorted(characters(read + rest)) == sorted(characters(context))
  if count(ask().text) <= budget:
    assert not limited.cut


def test_a_budget_is_spent_on_what_matters_most():
  once = count_words(prompt(repeats=()).text)
  for room, expected in ((10, []), (21, [RHINE]), (22, [RHINE, NILE])):
    limited = prompt(ratio=0.4, budget=once + room)
    assert repeated(limited.pieces) == [('sentence', s) for s in expected]
    assert repeated(limited.left_out) == [
        ('sentence', s) for s in [RHINE, NILE][len(expected) :]
    ]


def test_what_does_not_fit_leaves_its_room_to_what_does():
  once = count_words(prompt(repeats=()).text)
  limited = prompt(ratio=0.6, budget=once + 21)
  assert repeated(limited.pieces) == [('sentence', s) for s in (SKY, RHINE)]
  assert repeated(limited.left_out) == [('sentence', NILE)]


def test_the_budget_holds_where_more_text_can_have_fewer_tokens():
  def count(text):
    return len(text) + 100 * (len(text) % 2)

  for budget in range(250, 400, 10):
    limited = hierarchy.hierarchical_prompt(CONTEXT, '?', count, budget=budget)
    assert count(limited.text) <= budget


def test_of_a_context_that_is_too_long_what_matters_is_read():
  filler = f'{SKY} ' * 4
  context = f'{filler}{RHINE} {filler}{NILE}'
  limited = prompt(context, 'How long is the Rhine?', budget=45)
  assert RHINE in limited.text
  assert NILE in ''.join(limited.cut)
  lead = prompt(context, budget=40, saliency=saliency.lead)
  assert lead.text == (
      f'How long is the Rhine? {SKY} {SKY} {SKY} How long is the Rhine?'
  )
  assert lead.cut == [f' {SKY} {RHINE} {filler}{NILE}']


def test_a_budget_without_room_for_any_of_the_context_is_refused():
  with pytest.raises(ValueError, match='budget must be at least 21 .* got 12'):
    prompt(budget=12)


@pytest.mark.parametrize('budget', [None, 500])
def test_segments_do_not_depend_on_the_tokenizer(budget):
  context = f'{CONTEXT}\n\n' * 4
  question = 'How long is the Rhine?'
  ask = functools.partial(hierarchy.hierarchical_prompt, context, question)
  by_bytes, by_words = ask('bytes', budget=budget), ask(count_words)
  if budget:
    assert len(by_bytes.text.encode()) <= budget
  else:
    assert by_bytes == by_words
  sentences = {text.strip() for _, text in repeated(by_bytes.pieces)}
  assert sentences <= {SKY, RHINE, NILE}


@pytest.mark.parametrize('ratio', [0, 0.1, 0.3, 0.5, 0.8, 1])
def test_the_ratio_is_the_share_of_a_level(ratio):
  assert len(repeated(prompt(ratio=ratio).pieces)) == math.ceil(5 * ratio)


def test_segments_are_repeated_in_the_order_of_the_document():
  question = 'Nile? Nile? How long is the Rhine, and the Nile?'
  pieces = prompt(question=question, ratio=0.4).pieces
  assert repeated(pieces) == [('sentence', RHINE), ('sentence', NILE)]


def test_saliency_says_what_is_repeated():
  pieces = prompt(ratio=0.2, saliency=saliency.lead).pieces
  assert repeated(pieces) == [('sentence', SKY)]
  pieces = prompt(ratio=0.2, saliency=saliency.bm25).pieces
  assert repeated(pieces) == [('sentence', RHINE)]


def test_levels_are_read_one_after_the_other_or_after_each_paragraph():
  options = {'repeats': ('paragraph', 'sentence', 'sentence'), 'ratio': 0.3}
  question = 'How long is the Rhine?'
  again = f'\n{SKY} {RHINE}'  # the best paragraph
  # The best two sentences are in the first two paragraphs.
  assert prompt(**options).text == (
      f'{question} {CONTEXT}{again}'
      + f'\n{RHINE}\n\n{NILE}' * 2
      + f' {question}'
  )
  assert prompt(**options, order='interleaved').text == (
      f'{question} {SKY} {RHINE}{again}\n{RHINE}\n{RHINE}'
      f'\n\n{NILE} {SKY}\n{NILE}\n{NILE}'
      f'\n\n{SKY} {question}'
  )


def test_words_of_segments_that_were_apart_do_not_grow_together():
  context = ''.join(f'{letter * 40}。' for letter in 'あいう')
  text = hierarchy.hierarchical_prompt(
      context, 'Q?', len, saliency=lambda texts, _: [1, 0, 1], ratio=0.6
  ).text
  assert text == f'Q? {context}\n{"あ" * 40}。 {"う" * 40}。 Q?'


def test_windows_are_repeated_with_their_overlap():
  pieces = prompt(repeats=('window',), ratio=1, width=20, overlap=0.2).pieces
  windows = segment.windows(CONTEXT, width=20, overlap=0.2)
  assert repeated(pieces) == [('window', w.text.strip()) for w in windows]
  assert sum(len(w.text) for w in windows) > len(CONTEXT)


@pytest.mark.parametrize(
    'options, message',
    [
        ({'context': ''}, 'context must not be empty'),
        ({'repeats': ('word',)}, "repeats must be of paragraph, .* 'word'"),
        ({'ratio': 2}, r'ratio must lie in \[0, 1\], got 2'),
        ({'order': 'depth'}, "order must be one of breadth, .* 'depth'"),
    ],
)
def test_mistakes_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    prompt(**options)
