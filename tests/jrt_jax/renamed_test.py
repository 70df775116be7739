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
