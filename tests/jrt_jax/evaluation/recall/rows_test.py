"""Rows come from files and from Hugging Face, or a line says why not."""

import gzip
import json
import re
import sys
import types

from golden import prompts
from jrt_jax.data import sources
from jrt_jax.evaluation.recall import rows
from jrt_jax.evaluation.recall import tasks
import pytest
from recall_fakes import cases

ROW = {'context': 'a b', 'question': 'c', 'answers': 'b'}
LINE = json.dumps(ROW).encode() + b'\n'


def read(path):
  return [*rows.read(str(path))]


def read_task(task, path):
  return [*tasks.examples(task, path, tokenizer=None)]


def test_files_are_plain_or_compressed(tmp_path):
  for suffix, packed in {
      '.jsonl': LINE,
      '.jsonl.gz': gzip.compress(LINE),
      '.jsonl.zst': sources.zstd.compress(LINE),
  }.items():
    path = tmp_path / f'a{suffix}'
    path.write_bytes(packed)
    assert read(path) == [(f'{path}:1', ROW)]


def test_blank_lines_are_no_rows_but_count(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_bytes(b'\n' + LINE + b'  \n' + LINE.rstrip())
  assert [place for place, _ in read(path)] == [f'{path}:2', f'{path}:4']


@pytest.mark.parametrize('line', [b'{"a"', b'[1]', b'7', b'\xff', b'[' * 99])
def test_a_line_that_is_no_object_is_named(line, tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_bytes(LINE + line)
  with pytest.raises(ValueError) as error:
    read(path)
  assert str(error.value).startswith(f'{path}:2')
  assert '\n' not in str(error.value)


def test_a_damaged_file_is_named(tmp_path):
  path = tmp_path / 'a.jsonl.gz'
  path.write_bytes(gzip.compress(LINE)[:-9])
  with pytest.raises(ValueError, match=f'{re.escape(str(path))}: broken .gz'):
    read(path)


@pytest.mark.parametrize('task', tasks.TASKS)
def test_a_missing_file_is_named_with_where_to_get_it(task, tmp_path):
  source = tasks.TASKS[task].source
  for path, why in [
      (tmp_path / 'a.jsonl', ' must be a file that exists'),
      (tmp_path, f' has no file {task}*.jsonl'),
  ]:
    with pytest.raises(FileNotFoundError) as error:
      tasks.examples(task, [str(path)], tokenizer=None)
    assert (
        str(error.value) == f'{path}{why}: the rows of {task} are at {source}'
    )


@pytest.mark.parametrize('task', ['kv', 'ruler'])
def test_what_has_no_data_set_needs_a_file(task):
  with pytest.raises(FileNotFoundError, match=f'{task} needs a file: .*github'):
    tasks.examples(task, tokenizer=None)


def test_a_file_of_ones_own_that_is_missing_is_named():
  with pytest.raises(
      FileNotFoundError, match='^x.jsonl must be a file that exists$'
  ):
    tasks.examples('x.jsonl', tokenizer=None)


def test_a_folder_stands_for_the_one_file_of_a_task(tmp_path):
  for name in ('fda_551.jsonl.gz', 'fda.txt', 'nq.jsonl', 'nq_2.jsonl'):
    (tmp_path / name).touch()
  found = rows.find('fda', [tmp_path], 'there')
  assert found == [str(tmp_path / 'fda_551.jsonl.gz')]
  with pytest.raises(ValueError, match='one file for nq, got nq.jsonl, nq_2'):
    rows.find('nq', [tmp_path], 'there')
  with pytest.raises(ValueError, match='fda.txt must end with one of .jsonl'):
    rows.find('fda', [tmp_path / 'fda.txt'], 'there')


def test_the_source_is_read_where_no_file_is_given():
  assert rows.find('fda', (), 'hf:a/b') == ['hf:a/b']
  assert rows.find('fda', ('hf:c',), 'hf:a/b') == ['hf:c']


def _datasets(monkeypatch, load):
  module = types.SimpleNamespace(load_dataset=load)
  monkeypatch.setitem(sys.modules, 'datasets', module)


@pytest.mark.parametrize(
    'name, asked',
    [
        ('hf:a/b', ('a/b', None, 'validation')),
        ('hf:a/b:test', ('a/b', None, 'test')),
        ('hf:a/b:test:c', ('a/b', 'c', 'test')),
        ('hf:a/b::c', ('a/b', 'c', 'validation')),
    ],
)
def test_a_name_says_split_and_config(name, asked, monkeypatch):
  def load(path, config, split):
    assert (path, config, split) == asked
    return [ROW]

  _datasets(monkeypatch, load)
  assert read(name) == [(f'{name} row 1', ROW)]


def test_without_a_network_a_line_says_so(monkeypatch):
  def load(*args, **kwargs):
    raise RuntimeError("Couldn't reach\nthe Hub")

  _datasets(monkeypatch, load)
  with pytest.raises(OSError) as error:
    read('hf:a/b')
  assert str(error.value) == (
      "hf:a/b cannot be downloaded from Hugging Face: Couldn't reach the Hub"
  )


def test_without_the_package_a_line_says_which(monkeypatch):
  monkeypatch.setitem(sys.modules, 'datasets', None)
  with pytest.raises(
      ValueError, match=r'hf:a/b needs the package datasets: pip'
  ):
    read('hf:a/b')


@pytest.mark.hf  # needs datasets
def test_data_sets_are_read_by_name(tmp_path, monkeypatch):
  monkeypatch.setenv('HF_HOME', str(tmp_path / 'cache'))
  (tmp_path / 'set').mkdir()
  (tmp_path / 'set' / 'test.jsonl').write_bytes(2 * LINE)
  name = f'hf:{tmp_path / "set"}:test'
  first, second = tasks.examples(name, tokenizer=None)
  assert first.answers == second.answers == ('b',)
  assert first.once.last == 'a b c'


@pytest.mark.parametrize('case', cases.CASES)
def test_a_missing_or_wrong_field_is_named(case, file):
  releases = tasks.find_task(case.task).releases
  shared = max((r.needed & case.row.keys() for r in releases), key=len)
  for name in shared:
    for bad in (
        {k: v for k, v in case.row.items() if k != name},
        case.row | {name: 7.5},
        case.row | {name: []},
    ):
      path = file(case.row, bad)
      with pytest.raises(ValueError) as error:
        read_task(case.task, path)
      line = str(error.value)
      assert line.startswith(f'{path}:2: ')
      assert re.search(rf'\b{name}\b', line), line
      assert '\n' not in line


@pytest.mark.parametrize(
    'task, change, expected',
    [
        ('drop', {'answer': {'number': '1'}}, 'answer.spans must be given'),
        ('drop', cases.drop(), 'answers must have a text that is not blank'),
        (
            'drop',
            cases.drop(number='1') | {'validated_answers': [{}]},
            'validated_answers[0].number must be given',
        ),
        ('triviaqa', prompts.CLOZE | {'alt_answers': 7}, 'alt_answers must be'),
        ('nq', {'docs': [{'title': 'a'}]}, 'docs[0].text must be given'),
        ('nq', {'golden_answers': [' ']}, 'golden_answers[0] must be a text'),
        ('kv', {'value': 'x1'}, 'key and value must be one of ordered_kv'),
        ('ruler', {'outputs': ['a', 'b']}, 'outputs must be one needle, got 2'),
        ('ruler', {'input': 'What?'}, 'input must have a line before'),
        ('squad', {'query': 'How long?'}, 'query must have a line'),
        ('lambada', {'text': 'sea'}, 'text must have several words'),
        ('superglue_cb', {'label': 'maybe'}, 'label must be one of entailment'),
        ('superglue_boolq', {'label': -1}, 'label must be one of False, True'),
        (
            'superglue_copa',
            {'question': 'why'},
            'question must be one of cause',
        ),
        (
            'superglue_wic',
            {'start1': 12},
            'start1 and end1 must enclose a word',
        ),
        (
            'superglue_wsc',
            {'target': cases.SPANS | {'span2_text': 'she'}},
            'span2',
        ),
        ('superglue_record', {'query': 'x'}, 'query must have a @placeholder'),
        ('superglue_record', {'answers': ['Rome']}, 'answers must have one of'),
        ('own.jsonl', {'answers': ['a', '']}, 'answers[1] must be a text'),
        ('own.jsonl', {'context': ' '}, 'context must be a text that is not'),
    ],
)
def test_what_is_wrong_inside_a_field_is_said(task, change, expected, file):
  some = [case.row for case in cases.CASES if case.task == task]
  row = max(some, key=lambda row: len(row.keys() & change.keys()))
  path = file(row | change)
  with pytest.raises(ValueError, match=re.escape(f'{path}:1: {expected}')):
    read_task(task, path)


def test_rows_of_another_kind_are_told_what_they_must_have(file):
  path = file({'prompt': 'a', 'completion': 'b'})
  with pytest.raises(ValueError) as error:
    read_task('lambada', path)
  assert str(error.value) == (
      f'{path}:1: must have the fields [context, continuation] or [text], got'
      " ['prompt', 'completion']"
  )
