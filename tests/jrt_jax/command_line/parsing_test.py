import os
import subprocess
import sys

from absl import app
from absl import flags
import pytest

from jrt_jax import command_line


@pytest.fixture
def parse_runs(define):
  """A function that parses arguments as a command with a RUN does."""

  def parse_runs(*arguments):
    values = define(*arguments)
    flags.DEFINE_string('out', 'a.png', '', flag_values=values)
    _, *runs = command_line.parser(arguments='RUN')(sys.argv)
    return runs, values.out

  return parse_runs


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ['--config=configs/base.py', '--from=runs/a'],
            '--from brings its own config: leave --config out',
        ),
        (
            ['--from=runs/none'],
            'runs/none must be a workdir or its config.json, but there is no'
            ' runs/none',
        ),
        (
            ['--from=builtin:gpt9'],
            "builtin:NAME must be one of jrt_2m, got 'gpt9'",
        ),
        ([], '--config=configs/NAME.py must be given'),
        (
            ['--config=configs/base.py', 'steps=3'],
            "arguments must start with --, got 'steps=3'",
        ),
        (
            ['--config=configs/base.py', '--config.model.widht=3'],
            "the config has no key 'widht': did you mean 'width'?",
        ),
        (
            ['--config=configs/base.py', '--config.model.colour=3'],
            "the config has no key 'colour'",
        ),
        (
            ['--config=configs/jrt_tinny.py'],
            "--config must be a .py file, got 'configs/jrt_tinny.py': did you"
            ' mean configs/jrt_tiny.py?',
        ),
        (
            ['--config=configs/base.py', '--config.steps=ten'],
            "--config.steps must be a whole number, got 'ten'",
        ),
        (
            ['--config=configs/base.py', '--config.optimizer.peak_lr=high'],
            "--config.optimizer.peak_lr must be a number, got 'high'",
        ),
        (
            ['--config=configs/base.py', '--confg.steps=3'],
            'there is no flag --confg.steps',
        ),
        (
            ['--config=configs/base.py', '--steps=3'],
            'there is no flag --steps: did you mean --config.steps?',
        ),
        (
            ['--config=configs/base.py', '--peak_lr=1'],
            'there is no flag --peak_lr: did you mean'
            ' --config.optimizer.peak_lr?',
        ),
        (
            ['--config=configs/base.py', '--config.model.mixers=(conv, pla)'],
            '--config.model.mixers must have quotes around each name, as in'
            """ --config.model.mixers="('conv', 'pla')", got (conv, pla)""",
        ),
        (  # several keys have this name
            ['--config=configs/base.py', '--name=mqar'],
            'there is no flag --name',
        ),
    ],
)
def test_a_mistake_is_one_line(parse, exit_of, arguments, message):
  code, error = exit_of(parse, *arguments)
  assert (code, error) == (command_line.MISTAKE, f'error: {message}')


def test_a_value_out_of_its_range_is_one_line_of_any_command(parse, exit_of):
  arguments = ['--config=configs/base.py', '--config.batch_size=1000000000']
  code, error = exit_of(parse, *arguments)
  assert code == command_line.MISTAKE
  assert error.startswith(
      'error: config.batch_size must be a whole number from'
  )
  assert error.endswith('got 1000000000')


@pytest.mark.parametrize(
    'arguments', [['a', 'b', '--out=c.png'], ['--out', 'c.png', 'a', 'b']]
)
def test_arguments_without_a_flag_are_given_to_main(parse_runs, arguments):
  assert parse_runs(*arguments) == (['a', 'b'], 'c.png')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'at least one of RUN must be given'),
        (['--out=a.png'], 'at least one of RUN must be given'),
        (['a', '--oot=a.png'], 'there is no flag --oot: did you mean --out?'),
    ],
)
def test_a_mistake_beside_such_arguments_is_one_line(
    parse_runs, exit_of, arguments, message
):
  code, error = exit_of(parse_runs, *arguments)
  assert code == command_line.MISTAKE
  assert error.startswith(f'error: {message}') and '\n' not in error


@pytest.mark.parametrize(
    ('least', 'argument', 'message'),
    [
        (1, '--size=0', '--size must be a positive integer, got 0'),
        (2, '--size=1', '--size must be a whole number of at least 2, got 1'),
    ],
)
def test_a_number_out_of_the_range_of_a_flag_is_one_line(
    define, exit_of, least, argument, message
):
  values = define(argument)
  flags.DEFINE_integer('size', 9, '', lower_bound=least, flag_values=values)
  code, error = exit_of(command_line.parser(), sys.argv)
  assert (code, error) == (command_line.MISTAKE, f'error: {message}')


def test_help_is_no_failure(define, capsys):
  values = define('--help')
  flags.DEFINE_flag(app.HelpFlag(), values)
  with pytest.raises(SystemExit) as end:
    command_line.parser()(sys.argv)
  said = capsys.readouterr()
  assert end.value.code == 0
  assert said.out and not said.err


def test_a_plugin_of_jax_that_cannot_be_used_is_one_line(tmp_path):
  plugin = tmp_path / 'jax_plugins' / 'broken' / '__init__.py'
  plugin.parent.mkdir(parents=True)
  plugin.write_text('def initialize():\n  raise RuntimeError("no\\ncuDNN")\n')
  program = (
      'import jax; from absl import app; from jrt_jax import command_line;'
      ' app.run(lambda _: print(jax.devices()[0].platform),'
      ' flags_parser=command_line.parser())'
  )
  done = subprocess.run(
      [sys.executable, '-c', program],
      env=os.environ | {'PYTHONPATH': str(tmp_path)},
      capture_output=True,
      text=True,
  )
  assert (done.returncode, done.stdout) == (0, 'cpu\n'), done.stderr
  (line,) = [x for x in done.stderr.splitlines() if 'jax_plugins.broken' in x]
  assert line.startswith('warning: ') and line.endswith('no cuDNN')
  assert 'Traceback' not in done.stderr
