"""The command itself: `python -m jrt_jax.data.prepare`."""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import pytest
import tokenizers

from jrt_jax.data import manifest as manifests
from jrt_jax.data import preparation

# Runs the command, which waits for a signal after three shards.
WAITING = """
import runpy, signal, time
from jrt_jax.data import shard_writer

# A shell that starts the tests in the background has them ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)

def commit_and_wait(writer, *place):
  commit(writer, *place)
  while len(writer._manifest.of('train')) >= 3:
    time.sleep(1)

commit = shard_writer.ShardWriter.commit
shard_writer.ShardWriter.commit = commit_and_wait
runpy.run_module('jrt_jax.data.prepare', run_name='__main__')
"""


@pytest.fixture
def text(tmp_path):
  """A file of 6,000 documents."""
  path = tmp_path / 'text.jsonl'
  with open(path, 'w') as file:
    for i in range(6_000):
      print(json.dumps({'text': f'{i} ' * 10}), file=file)
  return path


def command(*arguments):
  return [sys.executable, '-m', 'jrt_jax.data.prepare', *map(str, arguments)]


def run(*arguments):
  return subprocess.run(command(*arguments), capture_output=True, text=True)


def files(folder):
  """The bytes of shards and of their indices, by name."""
  paths = [*folder.glob('*.bin'), *folder.glob('*.idx')]
  return {path.name: path.read_bytes() for path in paths}


def children(pid):
  """The processes that `pid` has started and that are not over."""
  found = []
  for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
    try:
      state, parent = path.read_text().rpartition(')')[2].split()[:2]
    except OSError:  # it has just ended
      continue
    if int(parent) == pid and state != 'Z':
      found.append(int(path.parent.name))
  return found


def is_running(pid):
  try:
    stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
  except OSError:
    return False
  return stat.rpartition(')')[2].split()[0] != 'Z'


def wait(condition, seconds=60):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.005)


def num_shards(folder):
  return len(list(folder.glob('train-*.bin')))


@pytest.mark.skipif(
    not pathlib.Path('/proc/self/stat').exists(),
    reason='processes have no /proc',
)
@pytest.mark.parametrize('kill', [signal.SIGKILL, signal.SIGINT])
def test_a_killed_command_continues_to_the_same_bytes(kill, text, tmp_path):
  folder = tmp_path / 'out'
  arguments = [f'--input={text}', f'--out={folder}', '--shard_tokens=9000']
  process = subprocess.Popen(
      [sys.executable, '-c', WAITING, *arguments, '--processes=2'],
      stderr=subprocess.PIPE,
      text=True,
      start_new_session=True,
  )
  wait(lambda: num_shards(folder) >= 3)
  workers = children(process.pid)
  process.send_signal(kill)
  _, errors = process.communicate()
  if kill == signal.SIGINT:
    assert process.returncode == 130
    assert errors.strip() == 'interrupted: the same command continues'
  assert len(workers) >= 2
  wait(lambda: not any(map(is_running, workers)), 20)
  assert not manifests.read(folder).complete

  end = run(*arguments, '--processes=1', '--verify')
  assert end.returncode == 0, end.stderr
  settings = manifests.Settings(
      format='jsonl',
      separator='<|endoftext|>',
      shard_tokens=9000,
  )
  whole = tmp_path / 'whole'
  manifest = preparation.prepare(whole, [str(text)], 'bytes', settings, 1)
  assert files(folder) == files(whole)
  assert manifests.read(folder) == manifest


def test_the_command_says_what_it_made_and_how_to_use_it(text, tmp_path):
  folder = tmp_path / 'out'
  made = run(f'--input={text}', f'--out={folder}', '--validation_fraction=0')
  assert made.returncode == 0, made.stderr
  assert '\r' not in made.stderr  # no progress where there is no terminal
  manifest = manifests.read(folder)
  assert f'{manifest.tokens:,} tokens' in made.stdout
  assert '6,000 documents' in made.stdout
  assert 'No document is held out' in made.stdout


@pytest.mark.parametrize(
    'config',
    ['jrt_tiny', pytest.param('jrt_360m', marks=pytest.mark.slow)],
)
def test_the_command_that_it_prints_trains(config, text, tmp_path):
  tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token='0'))
  tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  trainer = tokenizers.trainers.WordLevelTrainer(
      special_tokens=['</s>'], show_progress=False
  )
  tokenizer.train([str(text)], trainer)
  assert tokenizer.get_vocab_size() > 258  # what jrt_tiny has room for
  tokenizer.save(str(tmp_path / 'words.json'))
  made = run(
      f'--input={text}',
      f'--out={tmp_path}/a folder',
      f'--tokenizer={tmp_path}/words.json',
  )
  python, *command = shlex.split(made.stdout.splitlines()[-1])
  assert python == 'python'
  command = [
      f'--config=configs/{config}.py' if x.startswith('--config=') else x
      for x in command
  ]
  smaller = [f'--config.{key}={value}' for key, value in SMALLER.items()]
  trained = subprocess.run(
      [sys.executable, *command, *smaller, f'--workdir={tmp_path}/run'],
      env=os.environ | {'XLA_FLAGS': '--xla_backend_optimization_level=0'},
      capture_output=True,
      text=True,
  )
  assert trained.returncode == 0, trained.stderr


SMALLER = {
    'steps': 1,
    'batch_size': 2,
    'microbatch_per_device': 1,
    'sequence_length': 16,
    'eval_batches': 1,
    'sample_tokens': 1,
    'model.mixers': "('conv',)",
    'model.width': 16,
    'model.num_heads': 1,
    'model.mlp_width': 16,
    'optimizer.warmup_steps': 1,
}


def test_a_flipped_bit_is_found(error_line, tmp_path):
  (tmp_path / 'a.txt').write_text('some text')
  folder = tmp_path / 'out'
  assert run(f'--input={tmp_path}/*.txt', f'--out={folder}').returncode == 0
  assert 'match their checksums' in run('--verify', f'--out={folder}').stdout
  path = folder / 'train-00000.bin'
  path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
  found = run('--verify', f'--out={folder}')
  assert found.returncode == 2
  assert 'damaged' in error_line(found.stderr)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], '--out=DIR must be given, with --input=FILES or --verify'),
        (['--out=x', '--input=no/*.txt'], '--input must name files, got'),
        (['--out=x', '--verify'], 'x/manifest.json does not exist'),
    ],
)
def test_mistakes_end_with_one_line(error_line, arguments, message):
  end = run(*arguments)
  assert end.returncode == 2
  assert error_line(end.stderr).startswith(f'error: {message}')
