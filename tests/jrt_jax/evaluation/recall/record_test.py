"""A folder continues its own run, and holds no other."""

import json
import types

import pytest

from jrt_jax.evaluation.recall import record

SETTINGS = {'model': 'm', 'prompts': ('default', 'twice'), 'limit': None}
ROW = {
    'task': 't',
    'prompt': 'default',
    'id': 'a',
    'tokens': 3,
    'cut': False,
    'prefill_ms': None,
    'values': {'contains': 1.0},
    'error': None,
    'output': 'ä\u2028b',
}


@pytest.fixture
def path(tmp_path):
  path = tmp_path / 'new' / 'out'
  with record.opened(path, SETTINGS) as folder:
    folder.append([ROW, ROW | {'id': 'b'}])
  return path


def rows(path):
  with record.opened(path, SETTINGS) as folder:
    return folder.rows


def test_what_was_finished_is_there_the_next_time(path):
  with record.opened(path, SETTINGS) as folder:
    assert folder.rows == [ROW, ROW | {'id': 'b'}]
    folder.append([ROW | {'id': 'c'}])
    file = folder.finish({'results': {}})
  assert len(rows(path)) == 3
  assert json.loads(file.read_text()) == {'results': {}}


def test_a_line_that_was_being_written_is_dropped(path):
  with (path / 'examples.jsonl').open('a') as file:
    file.write(json.dumps(ROW)[:20])
  with record.opened(path, SETTINGS) as folder:
    assert len(folder.rows) == 2
    folder.append([ROW | {'id': 'c'}])
  assert [row['id'] for row in rows(path)] == ['a', 'b', 'c']


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'model': 'n'}, "whose model is 'm' and not 'n'"),
        ({'limit': 3}, 'whose limit is None and not 3'),
        ({'prompts': ['twice']}, r"whose prompts is \['default', 'twice'\]"),
    ],
)
def test_another_run_is_refused(path, changed, message):
  with pytest.raises(ValueError, match=f'--out .* {message}'):
    with record.opened(path, SETTINGS | changed):
      pass
  assert len(rows(path)) == 2


def test_a_folder_takes_one_process_at_a_time(path):
  with record.opened(path, SETTINGS):
    with pytest.raises(ValueError, match='in use by another .* another --out'):
      rows(path)
  assert rows(path)


def test_a_folder_of_other_files_is_refused(tmp_path):
  (tmp_path / 'thesis.tex').touch()
  with pytest.raises(ValueError, match='--out .* has no settings.json'):
    rows(tmp_path)
  assert [x.name for x in tmp_path.iterdir()] == ['thesis.tex']


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"task": "t"', 'must be JSON'),
        (json.dumps({'task': 't'}), 'prompt must be given, it is missing'),
        (json.dumps(ROW | {'error': 'ugly'}), 'error must be one of no_answer'),
        (
            json.dumps(ROW | {'values': {'f1': 'x'}}),
            "values.'f1' must be a number",
        ),
    ],
)
def test_a_damaged_line_is_named(path, line, message):
  with (path / 'examples.jsonl').open('a') as file:
    file.write(line + '\n')
  with pytest.raises(ValueError, match=f'examples.jsonl:3.*{message}') as error:
    rows(path)
  assert '\n' not in str(error.value)


def test_a_number_that_is_not_finite_is_never_written(path):
  bad = [ROW | {'id': 'c'}, ROW | {'tokens': float('nan')}]
  with record.opened(path, SETTINGS) as folder:
    with pytest.raises(ValueError, match='JSON compliant'):
      folder.append(bad)
  assert len(rows(path)) == 2


def test_the_environment_is_said():
  found = record.environment(types.SimpleNamespace(device='abacus'))
  assert 'CPU' in found['hardware'] and found['device'] == 'abacus'
  assert record.environment(object())['device'] == 'unknown'
  assert {'jrt_jax', 'jax', 'python'} <= found['versions'].keys()
  json.dumps(found, allow_nan=False)
