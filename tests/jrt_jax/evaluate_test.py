"""The command `python -m jrt_jax.evaluate`, run as a user runs it."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from jrt_jax import models
from jrt_jax.training import workdirs

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope='module')
def workdir(tmp_path_factory, tiny_config):
  """An untrained model of bytes with a prefix of 16 tokens."""
  config = tiny_config(mixers=('pla',), vocab_size=257)
  run = {
      'model': config,
      'prefix': {'name': 'fixed', 'capacity': 0.5},
      'sequence_length': 32,
      'data': {'tokenizer': 'bytes'},
  }
  path = tmp_path_factory.mktemp('runs') / 'run'
  params = models.split(models.build(config))[1]
  workdirs.write(path, run, params, origin='a test')
  return path


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


def run(module, *arguments, **environment):
  return subprocess.run(
      [sys.executable, '-m', module, *map(str, arguments)],
      cwd=ROOT,
      env=os.environ | environment,
      capture_output=True,
      text=True,
  )


@pytest.mark.hf
def test_a_task_is_evaluated(workdir, task, tmp_path):
  done = run(
      'jrt_jax.evaluate',
      f'--workdir={workdir}',
      f'--tasks={task}',
      f'--out={tmp_path}/out.json',
      '--check_leaks',
  )
  assert done.returncode == 0, done.stderr
  assert '|counting|' in done.stdout
  results = json.loads((tmp_path / 'out.json').read_text())
  assert results['model']['prefix_capacity'] == 16
  assert results['results']['counting']['acc,none'] in (0, 1)


@pytest.mark.hf
def test_the_command_line_of_the_harness_knows_the_model(workdir, task):
  done = run(
      'jrt_jax.evaluation',
      '--model=jrt_jax',
      f'--model_args=workdir={workdir}',
      f'--tasks={task}',
  )
  assert done.returncode == 0, done.stderr
  assert '|counting|' in done.stdout


@pytest.mark.hf
def test_an_unknown_task_is_one_line(workdir):
  done = run('jrt_jax.evaluate', f'--workdir={workdir}', '--tasks=no_such')
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
            '--out must be a file in a folder that can be written to, got',
        ),
        (
            ['--workdir=/no', '--tasks=a'],
            'evaluation needs the package lm_eval: pip install lm_eval',
        ),
    ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, message):
  (tmp_path / 'lm_eval.py').write_text('raise ImportError')
  done = run('jrt_jax.evaluate', *arguments, PYTHONPATH=str(tmp_path))
  assert done.returncode == 2
  assert done.stderr.startswith(f'error: {message}')
  assert done.stderr.count('\n') == 1
