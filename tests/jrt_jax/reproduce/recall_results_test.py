import json

import pytest

from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import recall_results
from jrt_jax.reproduce import runner
from jrt_jax.reproduce.exhibits import jrt_prompt


def estimate(value, half=0.1):
  return {
      'estimate': value,
      'low': value - half,
      'high': value + half,
      'n': 50,
      'method': 'paired',
  }


def task(default, twice, gain, metric='contains'):
  prompts = {
      'default': {'metrics': {metric: estimate(default)}},
      'twice': {
          'metrics': {metric: estimate(twice)},
          'against_default': {metric: estimate(gain)},
      },
  }
  return {'examples': 50, 'prompts': prompts, 'warnings': []}


@pytest.fixture
def folder(tmp_path):
  """Results of a model on tasks; one was asked one way only."""
  results = {
      'fda': task(0.2, 0.5, 0.3),
      'squad': task(0.5, 0.45, -0.05),
      'lambada': task(-3.0, -2.0, 0.4, 'perplexity'),
      'nq': {'prompts': {'default': {'metrics': {'contains': estimate(0.1)}}}},
  }
  content = {'settings': {'model': 'hf:small'}, 'results': results}
  (tmp_path / 'mine').mkdir()
  (tmp_path / 'mine' / 'result.json').write_text(json.dumps(content))
  return tmp_path


def done(folder):
  request = exhibit.Request('cpu', recall=folder)
  return {
      job.name: exhibit.Done(job.settings, recall_results.measure(job.settings))
      for job in recall_results.jobs(request)
  }


def test_what_was_measured_both_ways_is_compared_in_points(folder):
  first, second = recall_results.gains(done(folder), 'twice')
  assert first[:3] == ('hf:small', 'fda', 'contains')
  assert first.default.estimate == pytest.approx(20)
  assert first.gain[:4] == pytest.approx((30, 20, 40, 50))
  assert second.task == 'squad' and not second.gain.excludes(0)


def test_table_1_shows_them_and_lets_them_decide(folder, tmp_path):
  request = exhibit.Request('cpu', recall=folder)
  out = tmp_path / 'out'
  runner.run('t', jrt_prompt.EXHIBIT, request, out, command='', tell=str)
  found = runner.results(runner.read(out / 't.json')['jobs'])
  verdict = jrt_prompt.EXHIBIT.verdict(found)
  assert verdict.word == 'partly'
  assert 'Of 2 pairs of a model and a task' in verdict.sentence
  measured, *_ = jrt_prompt.EXHIBIT.show(found)
  assert [*measured.rows] == ['hf:small, fda', 'hf:small, squad']


def test_a_changed_result_is_another_job(folder):
  request = exhibit.Request('cpu', recall=folder)
  (before,) = recall_results.jobs(request)
  path = folder / 'mine' / 'result.json'
  path.write_text(path.read_text() + ' ')
  (after,) = recall_results.jobs(request)
  assert before.name == after.name and before.settings != after.settings


def test_a_folder_without_results_is_a_mistake(tmp_path):
  request = exhibit.Request('cpu', recall=tmp_path)
  with pytest.raises(FileNotFoundError, match='has no result.json'):
    recall_results.jobs(request)
