"""The command `python -m jrt_jax.prefix.calibrate`, run as a user runs it."""

import json

import pytest


@pytest.fixture
def arguments(tmp_path):
  path = tmp_path / 'text.txt'
  path.write_text(''.join('ab' * 50 + f'{i:050}' for i in range(90)))
  keys = {
      'data.source': 'text',
      'data.path': path,
      'data.validation_fraction': 0.1,
      'sequence_length': 50,
  }
  flags = [f'--config.{key}={value}' for key, value in keys.items()]
  return ['--config=configs/jrt_tiny.py', *flags]


def test_thresholds_are_saved_and_shown(command, arguments, tmp_path):
  out = tmp_path / 'policy.json'
  done = command('calibrate', *arguments, f'--out={out}', '--windows=60')
  assert done.returncode == 0, done.stderr
  saved = json.loads(out.read_text())
  assert (saved['tokenizer'], saved['tokens']) == ('bytes', 50)
  low, high = saved['thresholds']
  assert 0 <= low <= high
  first, *prefixes, last = done.stdout.splitlines()
  assert first.startswith('conditional_entropy of 60 windows of 50 tokens: ')
  assert sum(int(line.split()[2]) for line in prefixes) == 60
  assert last.startswith(f'wrote {out}; train with --config.prefix.name=')


def test_a_mistake_is_one_line(error_line, command, arguments):
  done = command('calibrate', *arguments, '--out=a', '--config.prefix.base=2.')
  assert done.returncode == 2
  line = error_line(done.stderr)
  assert line.startswith(
      'error: config.prefix.base must be a number from 1e-06'
  )
