"""Commands that parse their flags, and how they end."""

import sys

from absl import flags
from ml_collections import config_flags
import pytest

from jrt_jax import command_line


@pytest.fixture
def define(monkeypatch):
  """A function that returns the flags of a new command with these arguments."""

  def define(*arguments):
    values = flags.FlagValues()
    flags.DEFINE_integer('verbosity', -1, '', flag_values=values)
    monkeypatch.setattr(flags, 'FLAGS', values)
    monkeypatch.setattr(sys, 'argv', ['command', *arguments])
    return values

  return define


@pytest.fixture
def parse(define):
  """A function that parses arguments as `python -m jrt_jax.train` does."""

  def parse(*arguments):
    values = define(*arguments)
    flags.DEFINE_string('from', None, '', flag_values=values)
    config_flags.DEFINE_config_file('config', flag_values=values)
    command_line.parser(config='config')(sys.argv)
    return values.config

  return parse


@pytest.fixture
def exit_of(capsys):
  """A function that returns the code and the message of a program's end."""

  def exit_of(function, *args):
    with pytest.raises(SystemExit) as end:
      function(*args)
    return end.value.code, capsys.readouterr().err.rstrip('\n')

  return exit_of
