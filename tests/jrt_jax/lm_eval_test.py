"""The command `python -m jrt_jax.lm_eval`, run as a user runs it."""

import json
import re

import pytest


@pytest.fixture(scope='module')
def write_task(tmp_path_factory):
  """A function that describes a task with local data; returns its file."""
  folder = tmp_path_factory.mktemp('tasks')
  (folder / 'data.jsonl').write_text(
      '{"question": "one, two, ", "choices": ["three", "four"]}\n'
      '{"question": "two, three, ", "choices": ["four", "five"]}\n'
  )
  common = {
      'dataset_path': 'json',
      'dataset_kwargs': {
          'data_files': {'test': f'{folder}/data.jsonl'},
          'cache_dir': f'{folder}/cache',
      },
      'test_split': 'test',
      'doc_to_text': '{{question}}',
      'target_delimiter': '',
  }

  def write(name, **settings):
    path = folder / f'{name}.yaml'
    path.write_text(json.dumps(common | {'task': name} | settings))
    return path

  return write


@pytest.fixture(scope='module')
def task(write_task):
  return write_task(
      'counting',
      output_type='multiple_choice',
      doc_to_choice='choices',
      doc_to_target=0,
  )


@pytest.mark.hf
def test_tasks_are_evaluated(
    run_command, bytes_workdir, write_task, task, tmp_path
):
  likely = write_task(
      'likely', output_type='loglikelihood', doc_to_target='{{choices[0]}}'
  )
  drawn = write_task(
      'drawn',
      output_type='generate_until',
      doc_to_target='{{choices[0]}}',
      generation_kwargs={'until': ['\n'], 'max_gen_toks': 4},
      metric_list=[{'metric': 'contains'}],
  )
  done = run_command(
      'jrt_jax.lm_eval',
      f'--workdir={bytes_workdir}',
      f'--tasks={task},{likely},{drawn}',
      f'--out={tmp_path}/out.json',
      '--check_leaks',
  )
  assert done.returncode == 0, done.stderr
  assert 'fork' not in done.stderr
  for what in ('6 scored', '2 drawn'):
    line = (
        rf'no leaks in the first 15 tokens of {what} texts \(0 more .* at most'
    )
    assert re.search(line, done.stdout)
  results = json.loads((tmp_path / 'out.json').read_text())
  assert results['model']['prefix_capacity'] == 16
  assert results['results']['counting']['acc,none'] in (0, 0.5, 1)
  assert results['results']['likely']['perplexity_stderr,none'] > 0
  assert results['results']['drawn']['contains,none'] in (0, 0.5, 1)


@pytest.mark.hf
def test_the_command_line_of_the_harness_knows_the_model(
    run_command, bytes_workdir, task, tmp_path
):
  out = tmp_path / 'workdir=3'
  done = run_command(
      'jrt_jax.lm_eval_cli',
      '--model=jrt_jax',
      f'--model_args=workdir={bytes_workdir}',
      f'--tasks={task}',
      '--batch_size=auto',
      f'--output_path={out}',
  )
  assert done.returncode == 0, done.stderr
  assert '|counting|' in done.stdout
  (folder,) = out.iterdir()  # named after the run
  assert folder.name == str(bytes_workdir).replace('/', '__')


@pytest.mark.hf
@pytest.mark.parametrize(
    ('model_args', 'metric', 'message'),
    [
        ('workdr={}', 'contains', "--model_args: .* argument 'workdr'"),
        ('workdir={0},pretrained={0}', 'contains', 'either workdir=DIR or pre'),
        ('workdir={}', 'contians', 'metrics that lm_eval knows'),
    ],
)
def test_a_mistake_in_a_command_of_the_harness_is_one_line(
    run_command, bytes_workdir, write_task, model_args, metric, message
):
  task = write_task(
      'mistaken',
      output_type='generate_until',
      doc_to_target='{{choices[0]}}',
      metric_list=[{'metric': metric}],
  )
  done = run_command(
      'jrt_jax.lm_eval_cli',
      '--model=jrt_jax',
      f'--model_args={model_args.format(bytes_workdir)}',
      f'--tasks={task}',
      HF_HUB_OFFLINE='1',
  )
  assert done.returncode == 2 and 'Traceback' not in done.stderr
  assert re.search(f'^error: .*{message}', done.stderr.splitlines()[-1])


@pytest.mark.hf
def test_recall_tasks_are_found_by_name(run_command, bytes_workdir, tmp_path):
  rows = tmp_path / 'rows.jsonl'
  rows.write_text('{"context": "a b", "question": "a", "answers": "b"}')
  done = run_command(
      'jrt_jax.lm_eval',
      f'--workdir={bytes_workdir}',
      '--tasks=jrt_file,jrt_file_twice',
      f'--metadata={{"data_files": "{rows}", "context_tokens": 9}}',
      f'--out={tmp_path}/out.json',
  )
  assert done.returncode == 0, done.stderr
  assert '--metadata' not in done.stderr  # what the harness says of its tasks
  samples = json.loads((tmp_path / 'out.json').read_text())['samples']
  assert samples['jrt_file_twice'][0]['doc']['prompt'] == 'a a b\na b a'


@pytest.mark.hf
def test_the_command_line_of_the_harness_knows_them(
    run_command, bytes_workdir, tmp_path
):
  (tmp_path / 'fda.jsonl').write_text(
      '{"text": "A device by Phadia.", "key": "applicant", "value": "Phadia"}'
  )
  done = run_command(
      'jrt_jax.lm_eval_cli',
      '--model=jrt_jax',
      f'--model_args=workdir={bytes_workdir}',
      '--tasks=jrt_fda',
      f'--metadata=data_files={tmp_path}',
  )
  assert done.returncode == 0, done.stderr
  assert '|jrt_fda|' in done.stdout


@pytest.mark.hf
def test_recall_tasks_are_listed(run_command):
  done = run_command('jrt_jax.lm_eval', '--tasks=list')
  assert done.returncode == 0, done.stderr
  twice = 'question, context twice, question'
  line = f'\njrt_fda_twice: {twice}; of hf:hazyresearch/based-fda:validation\n'
  assert line in done.stdout


@pytest.mark.hf
@pytest.mark.parametrize(
    ('metadata', 'message'),
    [
        ('{}', 'hf:hazyresearch/based-fda:validation cannot be downloaded'),
        (
            '{"data_files": "/no"}',
            '/no must be a file that exists: the rows of fda are at hf',
        ),
        ('[]', '--metadata: must be an object'),
    ],
)
def test_data_that_is_not_there_is_one_line(
    run_command, bytes_workdir, metadata, message
):
  done = run_command(
      'jrt_jax.lm_eval',
      f'--workdir={bytes_workdir}',
      '--tasks=jrt_fda',
      f'--metadata={metadata}',
      HF_HUB_OFFLINE='1',
  )
  assert done.returncode == 2
  assert done.stderr.splitlines()[-1].startswith(f'error: {message}')


@pytest.mark.hf
def test_an_unknown_task_is_one_line(run_command, bytes_workdir):
  done = run_command(
      'jrt_jax.lm_eval', f'--workdir={bytes_workdir}', '--tasks=no_such'
  )
  assert done.returncode == 2
  assert done.stderr.endswith(", or files NAME.yaml, got 'no_such'\n")


@pytest.mark.hf
def test_data_that_cannot_be_downloaded_are_one_line(
    run_command, bytes_workdir, write_task, tmp_path
):
  far = write_task('far', dataset_path='a/b', dataset_kwargs={})
  done = run_command(
      'jrt_jax.lm_eval',
      f'--workdir={bytes_workdir}',
      f'--tasks={far}',
      HF_ENDPOINT='http://127.0.0.1:9',  # refuses, again and again
      HF_HOME=str(tmp_path),
  )
  assert done.returncode == 2
  assert 'Retry' not in done.stderr and 'Traceback' not in done.stderr
  assert done.stderr.splitlines()[-1].startswith("error: Couldn't reach 'a/b'")


@pytest.fixture
def without_lm_eval(tmp_path):
  """A path for Python, on which lm_eval cannot be imported."""
  (tmp_path / 'lm_eval.py').write_text('raise ImportError')
  return str(tmp_path)


def test_help_names_the_extra(run_command, without_lm_eval):
  done = run_command(
      'jrt_jax.lm_eval_cli', '--help', PYTHONPATH=without_lm_eval
  )
  assert done.returncode == 0
  assert "pip install -e '.[eval]'" in done.stdout


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
            "evaluation needs the package lm_eval: pip install -e '.[eval]'",
        ),
    ],
)
def test_a_mistake_is_one_line(
    error_line, run_command, without_lm_eval, arguments, message
):
  done = run_command('jrt_jax.lm_eval', *arguments, PYTHONPATH=without_lm_eval)
  assert done.returncode == 2
  assert error_line(done.stderr).startswith(f'error: {message}')
