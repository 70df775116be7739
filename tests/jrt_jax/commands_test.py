"""The list of commands has all of them, and needs nothing but Python."""

import ast
import pathlib
import subprocess
import sys

import pytest

from jrt_jax import commands
from jrt_jax import renamed

ROOT = pathlib.Path(__file__).parents[2]
# What other modules start, not users; and the list itself.
NO_COMMANDS = {
    'jrt_jax',
    'jrt_jax.runtime.cuda_driver',
    'launch.watchdog',
    'pallas_kernels.benchmarks.worker',
    'pallas_kernels.selfcheck.worker',
}
# Runs the list where no package is installed.
ALONE = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
runpy.run_module('jrt_jax', run_name='__main__')
"""


def list_commands(*arguments):
  return subprocess.run(
      [sys.executable, '-I', '-S', '-c', ALONE, *arguments],
      capture_output=True,
      text=True,
  )


def entry_points():
  """The names of all modules that do something when they are run."""
  for package in ('configs', 'jrt_jax', 'launch', 'pallas_kernels'):
    for path in (ROOT / package).rglob('*.py'):
      body = ast.parse(path.read_text()).body
      tests = [ast.dump(x.test) for x in body if isinstance(x, ast.If)]
      if path.stem == '__main__' or any('__main__' in test for test in tests):
        parts = path.relative_to(ROOT).with_suffix('').parts
        yield '.'.join(parts).removesuffix('.__main__')


def test_all_commands_are_listed_and_nothing_else():
  listed = commands.names()
  assert len({*listed}) == len(listed)
  assert {*listed} == {*entry_points()} - NO_COMMANDS - {*renamed.COMMANDS}


def test_the_list_has_a_short_line_for_each_and_imports_no_package():
  done = list_commands()
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  for name in commands.names():
    (line,) = (x for x in lines if x.startswith(f'  {name}  '))
    assert line.removeprefix(f'  {name}').strip()
  assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    'word, message',
    [
        (
            'generate',
            'a command is a module of its own: python -m jrt_jax.generate',
        ),
        ('launch', 'a command is a module of its own: python -m launch'),
        ('chat', "no command is called 'chat': python -m jrt_jax lists all"),
    ],
)
def test_a_command_written_apart_is_told_how_it_is_written(
    error_line, word, message
):
  done = list_commands(word, '--prompt=a')
  assert done.returncode == 2
  assert error_line(done.stderr) == f'error: {message}'
