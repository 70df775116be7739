import json

import pytest

from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import runner

REQUEST = exhibit.Request('cpu')


@pytest.fixture
def run(fake, tmp_path):
  """Runs the fake exhibit; returns what failed and what was told."""

  def run():
    told = []
    failed = runner.run(
        'fake',
        fake.exhibit(),
        REQUEST,
        tmp_path,
        command='python -m fake',
        tell=told.append,
    )
    return failed, told

  return run


def test_each_job_is_a_file_that_says_how_it_was_measured(run, tmp_path):
  failed, told = run()
  assert not failed and not told  # they take no time
  record = json.loads((tmp_path / 'fake' / 'n2.json').read_text())
  assert record['settings'] == {'n': 2, 'pair': [2, 2]}
  assert record['figures'] == {'square': 4, 'root': None}
  assert record['hardware'] and record['versions']['jax'] and record['date']
  whole = runner.read(tmp_path / 'fake.json')
  assert whole['command'] == 'python -m fake' and whole['scale'] == 'cpu'
  assert [job['figures']['square'] for job in whole['jobs']] == [1, 4, 9]
  assert whole['verdict'] == {'word': 'holds', 'sentence': 'So they are.'}
  ours = whole['shown'][0]['rows']['squares'][1]
  assert ours['low'] < ours['estimate'] < ours['high']


def test_what_is_there_is_not_measured_again_unless_it_has_changed(run, fake):
  run()
  run()
  assert fake.measured == [1, 2, 3]
  fake.squares = [1, 2, 3, 4]
  run()
  assert fake.measured == [1, 2, 3, 4]


def test_a_job_with_other_settings_is_measured_again(run, fake, tmp_path):
  run()
  path = tmp_path / 'fake' / 'n2.json'
  record = json.loads(path.read_text())
  path.write_text(json.dumps(record | {'settings': {'n': 7, 'pair': [2, 2]}}))
  run()
  assert fake.measured == [1, 2, 3, 2]


def test_what_is_interrupted_goes_on_with_its_folder(run, fake, tmp_path):
  fake.trouble = {2: KeyboardInterrupt()}
  with pytest.raises(KeyboardInterrupt):
    run()
  assert not (tmp_path / 'fake.json').exists()
  (workdir,) = (tmp_path / 'fake' / 'work').iterdir()
  assert (workdir / 'half').exists() and workdir.name.startswith('n2-')
  fake.trouble = {}
  run()
  assert fake.measured == [1, 2, 2, 3]
  assert not [*(tmp_path / 'fake' / 'work').iterdir()]


def test_a_job_that_fails_stops_no_other_and_is_tried_again(
    run, fake, tmp_path
):
  fake.trouble = {2: ValueError('no\nsquare')}
  failed, _ = run()
  assert failed == ['failed: fake n2: no square']
  assert fake.measured == [1, 2, 3]
  assert not (tmp_path / 'fake.json').exists()
  fake.trouble = {}
  assert run()[0] == []
  assert fake.measured == [1, 2, 3, 2]


def test_a_plan_may_depend_on_results(run, fake):
  plan = fake.exhibit().plan

  def plan_more(request, results):
    if len(results) == 3:
      fake.squares.append(sum(x.figures['square'] for x in results.values()))
    return plan(request, results)

  whole = fake.exhibit()._replace(plan=plan_more)
  fake.exhibit = lambda: whole
  run()
  assert fake.measured == [1, 2, 3, 14]


def test_a_file_that_is_no_result_is_named_and_left_alone(run, tmp_path):
  run()
  path = tmp_path / 'fake' / 'n1.json'
  path.write_text('{"job": "n1"}')
  assert run()[0] == [
      f'failed: fake n1: {path}: settings must be given, it is missing'
  ]
  assert path.read_text() == '{"job": "n1"}'


def test_names_of_jobs_are_names_of_files(run, fake):
  fake.squares = [1, 1]
  with pytest.raises(ValueError, match="'n1' must be a valid name of one job"):
    run()
  fake.squares = ['/../a']
  with pytest.raises(ValueError, match='must be a valid name'):
    run()
