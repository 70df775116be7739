"""The command `python -m jrt_jax.generate`, run as a user runs it."""

import pathlib
import re
import subprocess
import sys

import jax
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
  # Without this an untrained model with tied embeddings repeats its input.
  scale = jax.random.normal(jax.random.key(2), (config['width'],))
  params |= {'final_norm.scale': scale}
  workdirs.write(path, run, params, origin='a test')
  return path


def generate(*arguments, said=''):
  return subprocess.run(
      [sys.executable, '-m', 'jrt_jax.generate', *map(str, arguments)],
      cwd=ROOT,
      input=said,
      capture_output=True,
      text=True,
  )


def test_a_prompt_is_continued_and_what_it_took_is_said(workdir):
  done = generate(
      f'--workdir={workdir}', '--prompt=' + 20 * 'x', '--max_tokens=20'
  )
  assert done.returncode == 0, done.stderr
  assert len(done.stdout.removesuffix('\n')) <= 20
  assert re.fullmatch(
      r'\[read 20 tokens in [\d.]+ s with compilation, 16 in a prefix \(of 16 at'
      r' most\); drew 20 tokens, [\d,]+ tokens/s; state 1,080 bytes a prompt\]\n',
      done.stderr,
  )


@pytest.mark.slow
def test_a_conversation_continues_from_what_was_kept(workdir, tmp_path):
  (tmp_path / 'text').write_text('a text to read')
  memory = tmp_path / 'memory.npz'
  kept = generate(
      f'--workdir={workdir}',
      f'--file={tmp_path}/text',
      '--max_tokens=0',
      f'--save_state={memory}',
  )
  assert kept.returncode == 0, kept.stderr
  assert kept.stdout == '\n' and memory.exists()
  talk = (f'--workdir={workdir}', '--interactive', '--max_tokens=9')
  after = generate(*talk, f'--load_state={memory}', said='one\n\ntwo\n')
  assert after.returncode == 0, after.stderr
  assert after.stderr.count('drew 9 tokens') == 2
  without = generate(*talk, said='one\ntwo\n')
  assert after.stdout != without.stdout


@pytest.mark.slow
def test_several_prompts_are_told_apart(workdir):
  done = generate(
      f'--workdir={workdir}', '--prompt=a', '--prompt=bcd', '--max_tokens=2'
  )
  first, second = re.findall('--- prompt . of 2', done.stdout)
  assert first != second


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], '--prompt, --file or --interactive must be given'),
        (['--prompt=a'], '--workdir=DIR must be given'),
        (
            ['--prompt=a', '--workdir=/no'],
            "the workdir must be that of a run, got '/no', without"
            ' config.json',
        ),
        (
            ['--file=/no'],
            "--file must be a file that can be read, got '/no': No such file",
        ),
        (['--prompt=a', '--top_p=2'], 'top_p must be in (0, 1], got 2.0'),
        (
            ['--prompt=', '--workdir={workdir}'],
            'a prompt must hold at least one token, got none',
        ),
        (
            ['--prompt=a', '--workdir={workdir}', '--long_prompt=middle'],
            "long_prompt must be one of ['all', 'blocks', 'head', 'tail'], got"
            " 'middle'",
        ),
        (
            ['--prompt=a', '--workdir={workdir}', '--load_state=setup.cfg'],
            'setup.cfg is damaged, or not the memory of a model',
        ),
        (
            ['--prompt=a', '--workdir={workdir}', '--save_state=/dev/null/a'],
            '--save_state must be a file that can be written, got'
            " '/dev/null/a': Not a directory",
        ),
        (
            ['--prompt=a', '--workdir={workdir}', '--save_state=jrt_jax'],
            '--save_state must be a file that can be written, got'
            " 'jrt_jax': Is a directory",
        ),
    ],
)
def test_a_mistake_is_one_line(workdir, arguments, message):
  done = generate(*(x.format(workdir=workdir) for x in arguments))
  assert done.returncode == 2
  assert done.stderr.startswith(f'error: {message}')
  assert done.stderr.count('\n') == 1
