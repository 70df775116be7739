"""Old names of commands and flags, used as a user would use them."""

import subprocess
import sys

import pytest

from jrt_jax import commands
from jrt_jax import renamed


def run(*arguments):
  return subprocess.run(
      [sys.executable, '-m', *arguments], capture_output=True, text=True
  )


@pytest.mark.parametrize('old', renamed.COMMANDS)
def test_an_old_command_names_the_new_one(error_line, old):
  new = renamed.COMMANDS[old]
  done = run(old, '--workdir=a', '--help')
  assert done.returncode == 2
  assert error_line(done.stderr) == f'error: {old} is now python -m {new}'
  assert new in commands.names()


# Every old flag and argument, with a command that had it.
OLD = {
    'jrt_jax.benchmark --budget=9': '--budget is now --time_budget',
    'jrt_jax.benchmark --json=a': '--json is now --out',
    'jrt_jax.data.contamination --train=a': '--train is now --input',
    'jrt_jax.data.prepare --workers=2': '--workers is now --processes',
    'jrt_jax.generate --file=a': '--file is now --input',
    'jrt_jax.plan --json a': '--json is now --out',
    'jrt_jax.plot a b': 'RUN is now --workdir=RUN, or RUN,RUN',
    'jrt_jax.prefix.learn --table=a': '--table is now --trials',
    'jrt_jax.prefix.preview a': 'FILE is now --input=FILE',
    'jrt_jax.prefix_trials --prompts=9': '--prompts is now --num_prompts',
    'jrt_jax.prompting.preview --budget=9': '--budget is now --token_budget',
    'jrt_jax.prompting.preview a': 'FILE is now --input=FILE',
    'jrt_jax.recall --task=fda': '--task is now --tasks',
} | {
    f'jrt_jax.convert {old} a b': f'{old} is now {new}'
    for old, new in renamed.CONVERSIONS.items()
}


@pytest.mark.slow  # each command imports jax
@pytest.mark.parametrize('old', OLD)
def test_an_old_flag_or_argument_names_the_new_one(error_line, old):
  done = run(*old.split())
  assert done.returncode == 2
  assert error_line(done.stderr) == f'error: {OLD[old]}'


def test_all_old_names_are_tried():
  tried = ' '.join(OLD)
  flags = [(old, new) for old, news in renamed.FLAGS.items() for new in news]
  for old, new in flags:
    assert f'--{old} is now --{new}' in OLD.values()
  for command in renamed.ARGUMENTS:
    assert f'{command} a' in tried


def test_a_flag_that_a_command_never_had_is_unknown():
  assert renamed.flag('json', ['out']) == '--json is now --out'
  assert renamed.flag('json', ['workdir']) is None
  assert renamed.flag('jsn', ['out']) is None
