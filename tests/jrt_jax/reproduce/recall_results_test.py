import json

import pytest

from jrt_jax.evaluation.recall import scores
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import page
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


ABOUT_TASK = {'examples': 2, 'contexts': [0, 1], 'digest': 'a', 'warnings': []}


def kind(value, metric='contains'):
  return {'metrics': {metric: estimate(value)}, 'values': [1.0, 0.0]}


def task(default, twice, gain, metric='contains'):
  prompts = {
      'default': kind(default, metric),
      'twice': kind(twice, metric)
      | {'against_default': {metric: estimate(gain)}},
  }
  return ABOUT_TASK | {'prompts': prompts}


@pytest.fixture
def folder(tmp_path):
  """Results of a model on tasks; one was asked one way only."""
  results = {
      'fda': task(0.2, 0.5, 0.3),
      'squad': task(0.5, 0.45, -0.05),
      'lambada': task(-3.0, -2.0, 0.4, 'perplexity'),
      'nq': ABOUT_TASK | {'prompts': {'default': kind(0.1)}},
  }
  write(tmp_path / 'mine', results)
  return tmp_path


SETTINGS = {
    'model': 'hf:small',
    'tasks': ['fda', 'squad', 'lambada', 'nq'],
    'step': 10,
    'context_tokens': [950, 950, None, 950],
}


THEIRS = {
    'hardware': '96-core x86_64 CPU',
    'device': 'NVIDIA H100',
    'versions': {'jrt_jax': '9.9', 'torch': '2.8'},
    'commit': 'cafe',
    'date': '2020-02-02T10:00+00:00',
    'command': 'python -m jrt_jax.recall --out=a',
    'run': None,
}


def write(folder, results, settings=SETTINGS):
  folder.mkdir()
  content = {'settings': settings, 'results': results, **THEIRS}
  (folder / 'result.json').write_text(json.dumps(content))


def planned(folder, out):
  """What Table 1 makes of the results in a folder."""
  request = exhibit.Request('cpu', results=folder)
  failed = runner.run('t', jrt_prompt.EXHIBIT, request, out, command='mine')
  assert not failed
  whole = runner.read(out / 't.json')
  return whole['jobs'], runner.results(whole['jobs'])


def done(folder):
  request = exhibit.Request('cpu', results=folder)
  return {
      job.name: exhibit.Done(
          job.settings, recall_results.measure(job.settings, None)
      )
      for job in recall_results.jobs(request)
  }


def test_what_was_measured_both_ways_is_compared_in_points(folder):
  first, second = recall_results.gains(done(folder), 'twice')
  assert first[:3] == ('hf:small', 'fda', 'contains')
  assert first.default.estimate == pytest.approx(20)
  assert first.gain[:4] == pytest.approx((30, 20, 40, 50))
  assert second.task == 'squad' and not second.gain.excludes(0)


def test_table_1_shows_them_and_lets_them_decide(folder, tmp_path):
  _, found = planned(folder, tmp_path / 'out')
  verdict = jrt_prompt.EXHIBIT.verdict(found)
  assert verdict.word == 'partly'
  assert 'Of 2 pairs of a model and one of the six tasks' in verdict.sentence
  measured, *_ = jrt_prompt.EXHIBIT.show(found)
  assert [*measured.rows] == ['hf:small, fda', 'hf:small, squad']


def test_a_changed_result_is_another_job(folder):
  request = exhibit.Request('cpu', results=folder)
  (before,) = recall_results.jobs(request)
  path = folder / 'mine' / 'result.json'
  path.write_text(path.read_text() + ' ')
  (after,) = recall_results.jobs(request)
  assert before.name == after.name and before.settings != after.settings


def test_a_folder_without_results_is_a_mistake(tmp_path):
  request = exhibit.Request('cpu', results=tmp_path)
  with pytest.raises(FileNotFoundError, match='has no result.json'):
    recall_results.jobs(request)


def test_tasks_that_are_not_of_the_table_are_shown_and_decide_nothing(tmp_path):
  found = {'fda': task(0.2, 0.5, 0.3), 'mine.jsonl': task(0.5, 0.1, -0.4)}
  found['squad'] = task(0.5, 0.1, -0.4, 'exact_match')
  write(tmp_path / 'mine', found)
  _, results = planned(tmp_path, tmp_path / 'out')
  assert jrt_prompt.EXHIBIT.verdict(results).word == 'holds'
  first, others, *_ = jrt_prompt.EXHIBIT.show(results)
  assert [*first.rows] == ['hf:small, fda']
  assert [*others.rows] == ['hf:small, mine.jsonl', 'hf:small, squad']


def test_results_of_one_model_and_task_say_in_what_they_differ(tmp_path):
  found = {'fda': task(0.2, 0.5, 0.3), 'nq': task(0.2, 0.5, 0.3)}
  write(tmp_path / 'a', found)
  tokens = [400, 950, None, 950]
  other = SETTINGS | {'step': 20, 'context_tokens': tokens}
  write(tmp_path / 'b', found, other)
  gains = recall_results.gains(done(tmp_path), 'twice')
  assert [*recall_results.table(gains, 'twice')] == [
      'hf:small, fda, step 10, context_tokens 950',
      'hf:small, nq, step 10',
      'hf:small, fda, step 20, context_tokens 400',
      'hf:small, nq, step 20',
  ]


def test_the_same_result_twice_is_a_mistake(tmp_path):
  for name in 'ab':
    write(tmp_path / name, {'fda': task(0.2, 0.5, 0.3)})
  gains = recall_results.gains(done(tmp_path), 'twice')
  with pytest.raises(ValueError, match='one result for hf:small, fda.* two'):
    recall_results.table(gains, 'twice')


def test_a_result_is_credited_to_who_has_measured_it(tmp_path):
  write(tmp_path / 'a', {'fda': task(0.2, 0.5, 0.3)})
  (ours, job), _ = planned(tmp_path, tmp_path / 'out')
  hardware = 'NVIDIA H100 (96-core x86_64 CPU)'
  theirs = {x: THEIRS[x] for x in ('versions', 'commit', 'date', 'command')}
  assert job.items() >= (theirs | {'hardware': hardware}).items()
  assert ours['commit'] != 'cafe' and ours['hardware'] != hardware
  said = page.section('t', jrt_prompt.EXHIBIT, tmp_path / 'out').run
  assert said['commands'] == ['mine', theirs['command']]
  assert hardware in said['hardware'] and '2020-02-02' in said['date']
  assert 'torch 2.8' in said['versions']


def test_a_value_must_have_its_context(tmp_path):
  found = task(0.2, 0.5, 0.3)
  found['prompts']['default']['values'] = [1.0, 0.0, 1.0]
  write(tmp_path / 'a', {'fda': found})
  with pytest.raises(ValueError, match="'fda' must have a context .* got 3"):
    done(tmp_path)


def test_a_metric_that_there_is_not_is_refused(tmp_path):
  write(tmp_path / 'a', {'fda': task(0.2, 0.5, 0.3, 'applause')})
  with pytest.raises(ValueError, match="must not have the key 'applause'"):
    done(tmp_path)


def test_metrics_are_shares_unless_they_say_that_they_are_perplexities(
    tmp_path,
):
  for name in scores.METRICS:
    write(tmp_path / name, {'fda': task(0.2, 0.5, 0.3, name)})
  asked = [*recall_results.asked(done(tmp_path))]
  assert {x.metric for x in asked} == {*scores.METRICS}
  others = {x.metric for x in asked if not x.is_share}
  assert others == {'perplexity', 'token_perplexity'}
