"""Rows become the prompts of the package, cut by the tokens of the model."""

import json
import pathlib

import pytest

from jrt_jax.prompting import templates

pytestmark = pytest.mark.hf  # needs lm_eval

REAL = pathlib.Path(__file__).parents[5] / 'shared/data/eval'


@pytest.fixture(scope='module')
def utils():
  from jrt_jax.evaluation.lm_eval_tasks import utils

  return utils


@pytest.fixture
def load(utils, recall_rows):
  """A function that returns the first example of a task; it is not cut."""

  def load(**settings):
    usual = {'data_files': f'{recall_rows}', 'context_tokens': 0}
    return utils.load(**usual | settings)['test'][0]

  return load


@pytest.mark.parametrize('recall', ['fda', 'swde', 'nq', 'triviaqa', 'drop'])
def test_prompts_are_the_released_ones(load, recall_rows, recall):
  row = json.loads((recall_rows / f'{recall}.jsonl').read_text())
  for name, p in (('default', 1), ('twice', 2)):
    expected = templates.task_prompt(recall, row, p)
    assert load(recall=recall, prompt=name)['prompt'] == expected


def test_rows_of_ones_own_are_asked_as_they_are(load, recall_rows):
  found = load(data_files=f'{recall_rows}/file.jsonl', prompt='twice')
  context = 'Ann likes tea.'
  assert found['prompt'] == f'Ann likes {context}\n{context} Ann likes'
  assert found['answers'] == ['tea']


def test_several_files_are_read_one_after_the_other(utils, recall_rows):
  path = f'{recall_rows}/file.jsonl'
  for files in (f'{path},{path}', [path, path]):
    assert len(utils.load(data_files=files)['test']) == 2


def test_each_right_choice_counts(load):
  found = load(recall='superglue_record')
  assert [found['choices'][i] for i in found['labels']] == ['   - Ann met Bob.']


@pytest.mark.parametrize('argument', ['tokenizer', 'pretrained', 'workdir'])
def test_contexts_are_cut_by_the_tokens_of_the_model(
    load, bytes_workdir, argument
):
  name = 'bytes' if argument == 'tokenizer' else str(bytes_workdir)
  found = load(recall='fda', context_tokens=12, **{argument: name})
  assert found['prompt'] == 'ay by Phadia. Applicant:'


def test_the_tokenizer_that_is_named_comes_first(load):
  found = load(
      recall='fda', context_tokens=12, tokenizer='bytes', pretrained='/no'
  )
  assert found['prompt'] == 'ay by Phadia. Applicant:'


def test_tasks_of_the_paper_are_cut_and_others_are_not(utils, tmp_path):
  text = 'So it is. ' * 500
  row = {'context': text, 'question': 'So', 'answers': ['it is']}
  row |= {'text': text, 'key': 'So', 'value': 'it is'}
  for name, longest in (('fda', 960), ('file', 5010)):
    (tmp_path / f'{name}.jsonl').write_text(json.dumps(row))
    (found,) = utils.load(
        recall=None if name == 'file' else name,
        data_files=f'{tmp_path}/{name}.jsonl',
        tokenizer='bytes',
    )['test']
    assert longest - 60 < len(found['prompt']) < longest


def test_what_is_for_the_model_is_passed_over(load):
  others = {'dtype': 'float32', 'long_prompt': 'head', 'tokenizer_mode': 'slow'}
  assert load(recall='fda', **others) == load(recall='fda')


@pytest.mark.parametrize(
    'name', ['context_token', 'context-tokens', 'prompts', 'datafiles']
)
def test_a_misspelt_key_is_refused(load, name):
  with pytest.raises(ValueError, match=f'--metadata must have .*{name!r}'):
    load(recall='fda', **{name: 9})


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            {'recall': 'fda', 'prompt': 'thrice'},
            'prompt must be one of default',
        ),
        ({'recall': 'haystack'}, "one of fda, .* got 'haystack'"),
        (
            {'recall': 'fda', 'context_tokens': -1},
            'context_tokens must be a wh',
        ),
        ({'recall': 'fda', 'context_tokens': 9}, 'tokenizer must be given to'),
        (
            {'recall': 'fda', 'context_tokens': None},
            'tokenizer must be given to',
        ),
        ({'data_files': ''}, 'data_files must be given, in --metadata'),
        ({'data_files': {'fda': 'a'}}, 'data_files must be a text of'),
        ({'recall': 'fda', 'prompt': ['twice']}, 'prompt must be a text of'),
    ],
)
def test_a_mistake_names_the_argument(load, settings, message):
  with pytest.raises(ValueError, match=message):
    load(**settings)


def test_a_file_without_rows_is_refused(load, tmp_path):
  (tmp_path / 'fda.jsonl').touch()
  with pytest.raises(ValueError, match='the data of fda must have rows'):
    load(recall='fda', data_files=str(tmp_path))


def test_a_row_without_a_field_is_named(load, tmp_path):
  (tmp_path / 'fda.jsonl').write_text('\n{"text": "a", "key": "b"}\n')
  with pytest.raises(ValueError, match='fda.jsonl:2: value must be given'):
    load(recall='fda', data_files=str(tmp_path))


@pytest.mark.skipif(not REAL.is_dir(), reason=f'there is no {REAL}')
def test_real_rows_are_read_and_cut(utils):
  examples = utils.load(recall='fda', data_files=str(REAL), tokenizer='bytes')[
      'test'
  ]
  assert len(examples) == 551
  # A context is cut around its key where that comes first.
  held = sum(x['answers'][0].lower() in x['prompt'].lower() for x in examples)
  assert held > 500
  assert max(len(x['prompt'].encode()) for x in examples) < 1200
