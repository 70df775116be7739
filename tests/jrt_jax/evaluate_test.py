"""The command `python -m jrt_jax.evaluate`, run as a user runs it."""

import json
import re

import pytest


@pytest.fixture(scope='module')
def task(tmp_path_factory):
  """The file of a task whose data is local."""
  folder = tmp_path_factory.mktemp('tasks')
  (folder / 'data.jsonl').write_text(
      '{"question": "one, two, ", "choices": ["three", "four"]}\n'
  )
  description = {
      'task': 'counting',
      'dataset_path': 'json',
      'dataset_kwargs': {
          'data_files': {'test': f'{folder}/data.jsonl'},
          'cache_dir': f'{folder}/cache',
      },
      'test_split': 'test',
      'output_type': 'multiple_choice',
      'doc_to_text': '{{question}}',
      'doc_to_choice': 'choices',
      'doc_to_target': 0,
      'target_delimiter': '',
  }
  (folder / 'counting.yaml').write_text(json.dumps(description))
  return folder / 'counting.yaml'


@pytest.mark.hf
def test_a_task_is_evaluated(run_command, bytes_workdir, task, tmp_path):
  done = run_command(
      'jrt_jax.evaluate',
      f'--workdir={bytes_workdir}',
      f'--tasks={task}',
      f'--out={tmp_path}/out.json',
      '--check_leaks',
  )
  assert done.returncode == 0, done.stderr
  assert '|counting|' in done.stdout
  assert re.search('no leaks: .* at most; requests checked: 1', done.stdout)
  results = json.loads((tmp_path / 'out.json').read_text())
  assert results['model']['prefix_capacity'] == 16
  assert results['results']['counting']['acc,none'] in (0, 1)


@pytest.mark.hf
def test_the_command_line_of_the_harness_knows_the_model(
    run_command, bytes_workdir, task
):
  done = run_command(
      'jrt_jax.evaluation',
      '--model=jrt_jax',
      f'--model_args=workdir={bytes_workdir}',
      f'--tasks={task}',
  )
  assert done.returncode == 0, done.stderr
  assert '|counting|' in done.stdout


@pytest.mark.hf
def test_an_unknown_task_is_one_line(run_command, bytes_workdir):
  done = run_command(
      'jrt_jax.evaluate', f'--workdir={bytes_workdir}', '--tasks=no_such'
  )
  assert done.returncode == 2
  assert done.stderr.endswith(", or files NAME.yaml, got 'no_such'\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], '--workdir=DIR must be given'),
        (['--workdir=/no'], '--tasks=NAME,… must be given'),
        (
            ['--workdir=/no', '--tasks=a', '--out=/dev/null/a'],
            '--out must be a file that can be written, got',
        ),
        (
            ['--workdir=/no', '--tasks=a'],
            'evaluation needs the package lm_eval: pip install lm_eval',
        ),
    ],
)
def test_a_mistake_is_one_line(run_command, tmp_path, arguments, message):
  (tmp_path / 'lm_eval.py').write_text('raise ImportError')
  done = run_command('jrt_jax.evaluate', *arguments, PYTHONPATH=str(tmp_path))
  assert done.returncode == 2
  assert done.stderr.startswith(f'error: {message}')
  assert done.stderr.count('\n') == 1
