import json

import pytest

from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce.exhibits import hierarchical_prompting

EXHIBIT = hierarchical_prompting.EXHIBIT


@pytest.fixture
def data(tmp_path):
  """Rows in which one sentence of 20 has the words of the question."""
  rows = []
  for i in range(12):
    sentences = [f'The {w} of unit {i} was never told.' for w in 'abcdefghij']
    sentences.insert(i % 10, f'Here the voltage was {i} volt in all tests.')
    row = {'text': ' '.join(sentences * 1), 'key': 'voltage', 'value': f'{i} v'}
    rows.append(row)
  rows.append({'text': 'Nothing.', 'key': 'voltage', 'value': '3 volt'})
  (tmp_path / 'fda_rows.jsonl').write_text('\n\n'.join(map(json.dumps, rows)))
  return tmp_path


def planned(data):
  """The jobs that read texts, without what was measured of models."""
  jobs = EXHIBIT.plan(exhibit.Request('cpu', data=data), {})
  return [job for job in jobs if 'file' not in job.settings]


def measured(data):
  return {
      job.name: exhibit.Done(job.settings, EXHIBIT.measure(job.settings, data))
      for job in planned(data)
  }


def test_the_question_finds_the_sentence_that_answers_it(data):
  results = measured(data)
  at = lambda job, share: results[job].figures['repeated'][share]
  assert at('bm25-sentence', '0.2') == [1] * 12  # and no row without answer
  assert sum(at('lead-sentence', '0.2')) <= 6
  assert sum(at('bm25-sentence', '0.05')) == 0  # no sentence is so short
  assert all(sum(at(job, '0.4')) >= sum(at(job, '0.1')) for job in results)
  assert EXHIBIT.verdict(results).word == 'open'
  assert '12 rows of FDA' in EXHIBIT.verdict(results).sentence
  assert len(EXHIBIT.show(results)) == 3


def test_data_without_rows_is_a_mistake(tmp_path):
  with pytest.raises(FileNotFoundError, match='has no file fda'):
    EXHIBIT.plan(exhibit.Request('cpu', data=tmp_path), {})


def test_a_row_without_its_value_names_file_and_line(tmp_path):
  path = tmp_path / 'fda.jsonl'
  path.write_text('{"text": "a", "key": "b"}')
  job, *_ = EXHIBIT.plan(exhibit.Request('cpu', data=tmp_path), {})
  with pytest.raises(ValueError, match='fda.jsonl:1: ?value must be given'):
    EXHIBIT.measure(job.settings, tmp_path)


def test_other_rows_of_the_same_size_are_measured_again(data):
  before = planned(data)
  path = data / 'fda_rows.jsonl'
  path.write_text(path.read_text().replace('voltage', 'current'))
  for old, new in zip(before, planned(data), strict=True):
    assert old.name == new.name and old.settings != new.settings


def test_models_that_were_asked_are_shown(data, tmp_path):
  estimate = {'estimate': 0.3, 'low': 0.2, 'high': 0.4, 'n': 9, 'method': 'm'}
  metrics = {'metrics': {'contains': estimate}, 'values': [1.0, 0.0]}
  prompts = {
      'default': metrics,
      'hierarchical': metrics | {'against_default': metrics['metrics']},
  }
  found = {
      'settings': {'model': 'hf:small', 'tasks': ['fda']},
      'results': {
          'fda': {'prompts': prompts, 'contexts': [0, 1], 'digest': 'a'}
      },
      **dict.fromkeys(('hardware', 'device', 'date', 'command'), 'theirs'),
      **{'versions': {}, 'commit': None, 'run': None},
  }
  (tmp_path / 'result.json').write_text(json.dumps(found))
  *_, job = EXHIBIT.plan(exhibit.Request('cpu', data, tmp_path), {})
  asked = exhibit.Done(job.settings, EXHIBIT.measure(job.settings, data))
  results = measured(data) | {job.name: asked}
  first, *_ = EXHIBIT.show(results)
  assert [*first.rows] == ['hf:small, fda']
  assert 'Of 1 pairs of a model and a task' in EXHIBIT.verdict(results).sentence
