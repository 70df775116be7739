"""The command `python -m jrt_jax.prefix_trials`, run as a user runs it."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from jrt_jax import models
from jrt_jax.prefix.learned import trials
from jrt_jax.training import workdirs

ROOT = pathlib.Path(__file__).parents[2]


def run(module, *arguments):
  return subprocess.run(
      [sys.executable, '-m', module, *map(str, arguments)],
      cwd=ROOT,
      env=os.environ,
      capture_output=True,
      text=True,
  )


@pytest.fixture(scope='module', params=[0.5])
def workdir(tmp_path_factory, tiny_config, request):
  """An untrained model of bytes that knows prefixes of up to 16 tokens."""
  config = tiny_config(mixers=('pla',), vocab_size=257)
  settings = {
      'model': config,
      'prefix': {'name': 'uniform', 'capacity': request.param},
      'sequence_length': 32,
      'data': {'tokenizer': 'bytes'},
  }
  path = tmp_path_factory.mktemp('runs') / 'run'
  params = models.split(models.build(config))[1]
  workdirs.write(path, settings, params, origin='a test')
  return path


@pytest.fixture(scope='module')
def text(tmp_path_factory):
  rng = np.random.default_rng(0)
  path = tmp_path_factory.mktemp('texts') / 'a.jsonl'
  lines = [' '.join(map(str, rng.integers(99, size=60))) for _ in range(9)]
  path.write_text('\n'.join(json.dumps({'text': line}) for line in lines))
  return path


def test_prefixes_are_tried_on_texts(workdir, text, tmp_path):
  done = run(
      'jrt_jax.prefix_trials',
      f'--workdir={workdir}',
      f'--input={text}',
      f'--out={tmp_path}/new/trials.npz',
      '--answer_tokens=8',
      '--fractions=0,0.5',
      '--answers=all',
      '--num_prompts=24',
  )
  assert done.returncode == 0, done.stderr
  table, tokenizer = trials.load(tmp_path / 'new' / 'trials.npz')
  assert tokenizer == 'bytes'
  assert table.fractions.tolist() == [0, 0.5]
  assert max(map(len, table.prompts)) == 32
  assert (table.scores < 0).all() and (table.scores[:, 0] != 0).all()
  title, _, *rows, last = done.stdout.splitlines()
  assert title.startswith(f'{len(table.prompts)} prompts of at most 32 tokens')
  means = [f'{mean:.4f}' for mean in table.scores.mean(axis=0)]
  assert [row.split()[1] for row in rows] == means
  assert last.startswith(f'wrote {tmp_path}/new/trials.npz; learn from it: ')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('flag', 'message'),
    [
        ('--workdir=no', "the workdir must be that of a run, got 'no'"),
        ('--fractions=0,x', '--fractions must be numbers'),
        ('--fractions=1,0', '--fractions must be at least two that rise'),
        ('--input=no.txt', "--input must name files, got 'no.txt'"),
        ('--out=.', "--out must be a file that can be written, got '.'"),
        (
            '--answer_tokens=9999',
            'the text must have at least two prompts of ',
        ),
    ],
)
def test_a_mistake_is_one_line(
    error_line, workdir, text, tmp_path, flag, message
):
  given = [f'--workdir={workdir}', f'--input={text}', f'--out={tmp_path}/a']
  done = run('jrt_jax.prefix_trials', *given, flag)
  assert done.returncode == 2
  line = error_line(done.stderr)
  assert line.startswith(f'error: {message}')
  assert not (tmp_path / 'a').exists()


@pytest.mark.slow
@pytest.mark.parametrize('workdir', [0.0], indirect=True)
def test_a_run_without_prefixes_needs_to_be_told_some(
    error_line, workdir, text, tmp_path
):
  given = [f'--workdir={workdir}', f'--input={text}', f'--out={tmp_path}/a']
  done = run('jrt_jax.prefix_trials', *given)
  assert done.returncode == 2
  line = error_line(done.stderr)
  assert line.startswith('error: --fractions must be given for a run that was')


@pytest.mark.slow
def test_a_run_learns_how_long_its_prefixes_should_be(start, text, tmp_path):
  """From training to trials, to a policy, to training with it."""
  first, second = tmp_path / 'first', tmp_path / 'second'
  table, policy = tmp_path / 'trials.npz', tmp_path / 'policy.json'
  _, errors = start(first, prefix__capacity=1.0).communicate()
  assert (first / 'metrics.jsonl').exists(), errors
  short = '--answer_tokens=8', '--answers=all'
  for command in (
      [
          'prefix_trials',
          f'--workdir={first}',
          f'--input={text}',
          f'--out={table}',
          *short,
      ],
      ['prefix.learn', f'--trials={table}', '--cost=0.01', f'--out={policy}'],
  ):
    done = run(f'jrt_jax.{command[0]}', *command[1:])
    assert done.returncode == 0, done.stderr
  output, errors = start(
      second,
      init_from=first,
      prefix__name='learned',
      prefix__file=policy,
      prefix__capacity=1.0,
  ).communicate()
  assert 'held-out text' in output, errors
  recorded = json.loads((second / 'config.json').read_text())['prefix']
  assert recorded['fitted'] == json.loads(policy.read_text())
