"""What a task of questions reads of its rows: contexts, answers, and no more."""

from golden import prompts
from jrt_jax.data import tokenizers
from jrt_jax.evaluation.recall import tasks
import pytest
from recall_fakes import cases


def read(task, path, **options):
  tokenizer = tokenizers.Bytes()
  return [*tasks.examples(task, path, tokenizer=tokenizer, **options)]


@pytest.mark.parametrize(
    'task, row, kept',
    [
        ('fda', prompts.FDA | {'value': 'P'}, False),
        ('fda', prompts.FDA | {'key': ''}, False),
        ('swde', prompts.SWDE | {'value': ''}, False),
        ('squad', prompts.SQUAD | {'value': '1'}, False),
        ('nq', prompts.CLOZE | {'answers': ['1', 'one']}, False),
        ('triviaqa', prompts.CLOZE | {'answers': ['1']}, True),
        ('drop', prompts.CLOZE | {'answers': ['1']}, True),
    ],
)
@pytest.mark.parametrize('context_tokens', [None, 20])
def test_rows_are_left_out_as_released_with_any_budget(
    task, row, kept, context_tokens, file
):
  path = file(row, prompts.RELEASED[task][0])
  assert len(read(task, path, context_tokens=context_tokens)) == 1 + kept


def test_other_answers_of_one_character_do_not_count(file):
  row = cases.find('squad', 1).row | {
      'answers_text': ['1,230 km', '.', '1,230']
  }
  (example,) = read('squad', file(row))
  assert example.answers == ('1,230 km', '1,230')


def test_validated_answers_of_drop_count_as_well(file):
  row = cases.drop(number='13')
  others = [cases.drop(number=x)['answer'] for x in ('14', '4')]
  row['validated_answers'] = [*others, row['answer']]
  (example,) = read('drop', file(row))
  assert example.answers == ('13', '14')


@pytest.mark.parametrize(
    'task, row',
    [
        ('drop', cases.drop(number='3')),
        ('triviaqa', cases.RETRIEVED | {'golden_answers': ['3', 'three']}),
    ],
)
def test_a_gold_answer_of_one_character_leaves_a_converted_row_out(
    task, row, file
):
  assert not read(task, file(row))


@pytest.mark.parametrize(
    'task, row, begins, ends',
    [
        ('fda', prompts.FDA | {'value': 'Phadia'}, 'say by Phadia', 'Phadia'),
        ('nq', prompts.CLOZE, 'It is 1,230 km', 'km'),
        ('drop', prompts.CLOZE, '[DOC] [TLE] Rhine', 'Rhine'),
        ('triviaqa', prompts.CLOZE, 'Rhine', 'Rhine'),
        (
            'nq',
            cases.RETRIEVED | {'golden_answers': ['no', 'Salty']},
            'Sea: S',
            '',
        ),
        (
            'own.jsonl',
            cases.CASES[-1].row | {'answers': 'old'},
            'long, and',
            'old.',
        ),
        ('own.jsonl', cases.CASES[-1].row | {'answers': 'x'}, 'The Rhine', ''),
        ('superglue_boolq', cases.CASES[-1].row, 'The Rhine', ''),
    ],
)
def test_contexts_are_cut_around_their_answer(task, row, begins, ends, file):
  if task == 'superglue_boolq':
    row = {'passage': cases.PASSAGE, 'question': 'is it', 'label': 0}
  (example,) = read(task, file(row), context_tokens=17)
  context = example.once.context.strip()
  assert len(context) <= 18  # a period is added
  assert begins in context
  assert context.rstrip('.').endswith(ends.rstrip('.'))
  assert example.once.context.split() == example.again.context.split()


@pytest.mark.parametrize('index', [0, 1])
def test_the_question_of_squad_is_never_cut_off(index, file):
  case = cases.find('squad', index)
  question = case.prompt.partition('\n')[2].partition('\n')[2]
  context_tokens = len(question) + 12
  (example,) = read('squad', file(case.row), context_tokens=context_tokens)
  assert example.once.last.endswith(question)
  assert '1,23' in example.once.context
  assert len(example.once.last) <= context_tokens + 1
  assert example.once.last.startswith(example.once.context.strip())
