"""Every task asks what it should, and an oracle answers all of it."""

import json
import math
import pathlib

from golden import prompts
from jrt_jax.data import tokenizers
from jrt_jax.evaluation.recall import tasks
import pytest
from recall_fakes import cases

BYTES = tokenizers.Bytes()
DATA = pathlib.Path(__file__).parents[5] / 'shared/data/eval'
real_data = pytest.mark.skipif(not DATA.is_dir(), reason='no data')
each_case = pytest.mark.parametrize(
    'case',
    cases.CASES,
    ids=[f'{i}-{case.task}' for i, case in enumerate(cases.CASES)],
)


def read(task, *paths, **options):
  return [*tasks.examples(task, paths, tokenizer=BYTES, **options)]


def is_right(example, answer, likelihood):
  """Scores a model, by what it answers and how likely it finds a text."""
  if not example.choices:
    return any(gold.lower() in answer.lower() for gold in example.answers)
  scores = [likelihood(choice) for choice in example.choices]
  chosen = max(range(len(scores)), key=scores.__getitem__)
  if len(scores) == 1:
    return scores[0] > -math.inf
  name = example.names[chosen] if example.names else None
  right = chosen == example.label or name in example.answers
  return right and scores.count(scores[chosen]) == 1


def test_every_task_has_a_case():
  assert {case.task for case in cases.CASES} == {*tasks.TASKS, 'own.jsonl'}


@each_case
def test_prompts_are_what_a_task_asks(case, file):
  (example,) = read(case.task, file(case.row))
  assert example.once.last == case.prompt
  intro, context, question, last = example.again
  assert intro and context
  assert last.startswith(context)
  assert last.split() == [*context.split(), *question.split()]


@pytest.mark.parametrize('task', prompts.RELEASED)
def test_released_prompts_hold(task, file):
  record, default, twice = prompts.RELEASED[task]
  (example,) = read(task, file(record))
  intro, context, _, last = example.again
  assert example.once.last == default
  assert f'{intro} {context}\n{last}' == twice


@each_case
def test_an_oracle_is_right_and_what_says_nothing_is_not(case, file):
  (example,) = read(case.task, file(case.row))
  for right in case.right:
    assert is_right(example, f' {right}, so', lambda x: float(x == right))
  assert not is_right(example, '', lambda x: -math.inf)
  for wrong in case.wrong:
    assert not is_right(example, '', lambda x: float(x == wrong))
  texts = example.choices or example.answers
  assert sorted(texts) == sorted(case.right + case.wrong)


@each_case
def test_a_budget_with_room_changes_nothing_that_is_read(case, file):
  path = file(case.row)
  (whole,), (cut,) = read(case.task, path), read(
      case.task, path, context_tokens=10**6
  )
  assert cut._replace(once=0, again=0) == whole._replace(once=0, again=0)
  assert cut.once.last.split() == whole.once.last.split()


def test_examples_depend_on_neither_order_nor_limit(file):
  for task in tasks.TASKS:
    some = [case.row for case in cases.CASES if case.task == task]
    forward = read(task, file(*some))
    backward = read(task, file(*reversed(some)))
    assert sorted(backward) == sorted(forward)
    assert read(task, file(*some), limit=2) == forward[:2]


def test_the_same_row_again_is_another_example(file):
  row = cases.CASES[-1].row
  first, second, third = read('own.jsonl', file(row, row, row | {'x': 1}))
  assert len({first.id, second.id, third.id}) == 3
  assert first[1:] == second[1:] == third[1:]


def test_examples_of_a_context_are_a_group_however_it_is_cut(file):
  row = cases.CASES[-1].row
  rows = [row | {'answers': x} for x in ('The Rhine', 'old')]
  rows.append(row | {'context': row['context'] + ' Yes.'})
  whole = read('own.jsonl', file(*rows))
  cut = read('own.jsonl', file(*rows), context_tokens=17)
  assert len({x.once.context for x in cut}) == 3
  assert [x.group for x in cut] == [x.group for x in whole]
  first, second, third = (x.group for x in cut)
  assert first == second != third
  examples = read(
      'superglue_multirc', file(cases.find('superglue_multirc', 1).row)
  )
  assert len({x.group for x in examples}) == 1


def test_a_file_of_ones_own_is_a_task(file):
  path = file(cases.CASES[-1].row)
  assert read(path) == read('own.jsonl', path)
  assert tasks.find_task(path).kind == 'generate'


def test_rows_are_read_when_they_are_asked_for(file):
  examples = tasks.examples(
      'fda', [file(prompts.FDA, {'text': 'a'})], tokenizer=None
  )
  assert next(examples).answers == ('Phadia',)
  with pytest.raises(ValueError, match='rows.jsonl:2: key must be given'):
    next(examples)


def test_several_questions_of_a_row_are_examples(file):
  row = json.loads(json.dumps(cases.find('superglue_multirc', 1).row))
  question = row['passage']['questions'][0]
  question['answers'].append({'text': 'Long', 'label': 1})
  row['passage']['questions'].append(question)
  examples = read('superglue_multirc', file(row))
  assert [x.id[12:] for x in examples] == ['/0/0', '/0/1', '/1/0', '/1/1']
  assert [x.label for x in examples] == [0, 1, 0, 1]
  row = cases.find('superglue_record', 1).row
  examples = read('superglue_record', file(row | {'qas': 2 * row['qas']}))
  assert [x.id[12:] for x in examples] == ['/0', '/1']


def test_lambada_keeps_the_last_words(file):
  (example,) = read(
      'lambada', file(cases.find('lambada').row), context_tokens=16
  )
  assert example.once.last == ' Ships go to the'
  intro, context, question, last = example.again
  assert (intro, context, question) == (
      'go to the',
      ' Ships',
      'go to the',
  ), 'one sentence is divided'
  assert last == example.once.last


def test_only_a_budget_needs_a_tokenizer(file):
  path = file(cases.CASES[-1].row)
  assert [*tasks.examples('own.jsonl', path, tokenizer=None)] == read(path)
  with pytest.raises(ValueError, match='tokenizer must be given to count'):
    tasks.examples(path, tokenizer=None, context_tokens=9)


@pytest.mark.parametrize('task', ['imdb', 'fda.json', ''])
def test_an_unknown_task_is_named(task):
  with pytest.raises(ValueError, match=f'task must be one of fda.*{task!r}'):
    tasks.examples(task, tokenizer=None)


@pytest.mark.parametrize('name', ['context_tokens', 'limit'])
def test_a_number_out_of_range_is_named(name, file):
  with pytest.raises(ValueError, match=f'{name} must be at least 1, got 0'):
    tasks.examples(file(cases.CASES[-1].row), tokenizer='bytes', **{name: 0})


def test_only_tasks_of_the_paper_are_cut():
  cut = {name for name, x in tasks.TASKS.items() if x.context_tokens}
  assert cut == {'fda', 'swde', 'squad', 'nq', 'triviaqa', 'drop'}
  assert {tasks.TASKS[name].context_tokens for name in cut} == {950}
  assert tasks.find_task('own.jsonl').context_tokens is None


def test_every_generating_task_has_an_end():
  for task in tasks.TASKS.values():
    assert (task.max_tokens == 48) == (task.kind == 'generate')
    assert task.stop == (('\n',) if task.kind == 'generate' else ())


REAL = {  # rows that are examples, but where several examples are in a row
    'fda': 551,
    'squad': 999,  # the answer of one has one character
    'nq': 631,  # of six
    'triviaqa': 717,  # the answer of four has one character
    'drop': 711,  # of 236
    'kv': 100,
    'ruler': 50,
    'lambada': 1000,
    'superglue_boolq': 3270,
    'superglue_cb': 56,
    'superglue_copa': 100,
    'superglue_multirc': 4848,
    'superglue_rte': 277,
    'superglue_wic': 638,
    'superglue_wsc': 104,
}


@real_data
@pytest.mark.parametrize(
    'task, groups', [('fda', 420), ('squad', 802), ('superglue_multirc', 83)]
)
def test_real_rows_share_contexts(task, groups):
  assert len({x.group for x in read(task, str(DATA))}) == groups


@real_data
@pytest.mark.parametrize('task', REAL)
def test_real_rows_are_read(task):
  examples = read(task, str(DATA))
  assert len(examples) == len({x.id for x in examples}) == REAL[task]
  for x in examples:
    assert is_right(x, ' '.join(x.answers), lambda y: y == x.choices[x.label])
    assert not is_right(x, '', lambda y: -math.inf)
    assert x.once.last.startswith(x.once.context.rstrip())


@real_data
@pytest.mark.parametrize(
    'task, context_tokens',
    # FDA's are cut around the attribute, if it stands before its value.
    [('fda', 4000), ('squad', 400), ('nq', 400), ('kv', 400), ('ruler', 400)],
)
def test_real_contexts_keep_their_answer_when_they_are_cut(
    task, context_tokens
):
  for x in read(task, str(DATA), context_tokens=context_tokens, limit=50):
    context = x.again.context.lower()
    assert any(answer.lower() in context for answer in x.answers)
    assert len(context.encode()) <= context_tokens + 10


@real_data
@pytest.mark.parametrize(
    'task, right',
    [('boolq', 2033), ('wic', 319), ('wsc', 38), ('multirc', 2075)],
)
def test_real_labels_are_kept(task, right):
  examples = read(f'superglue_{task}', str(DATA))
  assert sum(x.choices[x.label].endswith(' yes') for x in examples) == right


def test_an_answer_can_be_scored_that_is_not_generated(file):
  found = read(
      'own.jsonl',
      file({'context': 'a', 'question': 'b', 'answers': [' c ', 'd']}),
  )
  task, (example,) = tasks.by_likelihood(tasks.find_task('own.jsonl'), found)
  assert task.metrics == ('token_perplexity', 'accuracy')
  assert (example.choices, example.label) == ((' c',), 0)


def test_tasks_that_have_choices_are_scored_as_they_are():
  task = tasks.find_task('superglue_boolq')
  assert tasks.by_likelihood(task, []) == (task, [])
