import json
import os
import subprocess
import sys

from absl import app
from absl import flags
import jax
from ml_collections import config_flags
import pytest

from configs import base
from jrt_jax import command_line


@pytest.fixture
def parse(monkeypatch):
  """A function that parses arguments as `python -m jrt_jax.train` does."""

  def parse(*arguments):
    values = define(monkeypatch, arguments)
    flags.DEFINE_string('from', None, '', flag_values=values)
    config_flags.DEFINE_config_file('config', flag_values=values)
    command_line.parser(config='config')(sys.argv)
    return values.config

  return parse


@pytest.fixture
def parse_runs(monkeypatch):
  """A function that parses arguments as `python -m jrt_jax.plot` does."""

  def parse_runs(*arguments):
    values = define(monkeypatch, arguments)
    flags.DEFINE_string('out', 'a.png', '', flag_values=values)
    _, *runs = command_line.parser(arguments='RUN')(sys.argv)
    return runs, values.out

  return parse_runs


def define(monkeypatch, arguments):
  values = flags.FlagValues()
  flags.DEFINE_integer('verbosity', -1, '', flag_values=values)
  monkeypatch.setattr(flags, 'FLAGS', values)
  monkeypatch.setattr(sys, 'argv', ['command', *arguments])
  return values


def exit_of(capsys, function, *args):
  """Returns the code and the message that the program ends with."""
  with pytest.raises(SystemExit) as end:
    function(*args)
  return end.value.code, capsys.readouterr().err.rstrip('\n')


def fail(context, error):
  with context:
    raise error


@pytest.mark.parametrize(
    'arguments', [['--config=configs/base.py'], ['--config', 'configs/base.py']]
)
def test_both_ways_to_give_the_config_work(parse, arguments):
  assert parse(*arguments, '--config.steps=7').steps == 7


@pytest.mark.parametrize('file', ['base.py', 'ablations/feature_map.py:relu'])
def test_the_configs_that_are_installed_are_found_from_any_folder(
    parse, monkeypatch, tmp_path, file
):
  monkeypatch.chdir(tmp_path)
  assert parse(f'--config=configs/{file}', '--config.steps=7').steps == 7


def test_a_config_of_the_present_folder_comes_before_an_installed_one(
    parse, monkeypatch, tmp_path
):
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs' / 'jrt_tiny.py').write_text(
      'from configs import base\n\ndef get_config():\n'
      '  config = base.get_config()\n  config.steps = 9\n  return config\n'
  )
  monkeypatch.chdir(tmp_path)
  assert parse('--config=configs/jrt_tiny.py').steps == 9


@pytest.mark.parametrize(
    ('flag', 'starts_from_it'),
    [
        ('--from={}', True),
        ('--from {}', True),
        ('--config={}/config.json', False),
        ('--config {}/config.json', False),
    ],
)
def test_what_a_run_has_recorded_is_a_config(
    parse, capsys, tmp_path, flag, starts_from_it
):
  recorded = base.get_config().to_dict()
  del recorded['model']['pad_mask'], recorded['mesh']  # of an earlier version
  recorded['model'] |= {'mixers': ['conv', 'pla'], 'width': 48}
  recorded['prefix']['fitted'] = {'thresholds': [1.5, 2.5]}
  (tmp_path / 'config.json').write_text(json.dumps(recorded))
  config = parse(*flag.format(tmp_path).split(), '--config.steps=7')
  assert (config.steps, config.model.width) == (7, 48)
  assert config.model.mixers == ('conv', 'pla')
  assert config.model.pad_mask == 'exclude' and 'fitted' not in config.prefix
  assert config.init_from == (str(tmp_path) if starts_from_it else '')
  assert capsys.readouterr().err == (
      f'{tmp_path}/config.json is of an earlier version and lacks'
      ' model.pad_mask, mesh.data, mesh.fsdp, mesh.tensor: the defaults of'
      ' configs/base.py are used\n'
  )


def test_a_model_of_the_package_is_a_run_too(parse):
  config = parse('--from=builtin:jrt_2m', '--config.steps=7')
  assert (config.steps, config.model.width) == (7, 128)
  assert config.init_from == 'builtin:jrt_2m'
  assert os.path.isfile(config.data.tokenizer)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, '{}/config.json must be a workdir or its config.json'),
        ('[1]', '{}/config.json: must be an object with keys, got [1]'),
        ('{}', '{}/config.json: model must be given, it is missing'),
        (
            '{"model": {"colour": 3}}',
            "{}/config.json: model must not have the key 'colour'",
        ),
        (
            '{"model": {"width": "a"}}',
            '{}/config.json: model.width must be a whole number from 1 to',
        ),
        (
            '{"model": {}, "prefix": []}',
            '{}/config.json: prefix must be an object with keys, got []',
        ),
        (
            '{"model": {}, "mesh": {"data": -1.0}}',
            '{}/config.json: mesh.data must be -1 or a whole number from 1 to',
        ),
        pytest.param(
            '[' * 100_000,
            '{}/config.json must be JSON: maximum recursion depth',
            id='too deep',
        ),
        ('{"model', '{}/config.json must be JSON: Unterminated string'),
    ],
)
def test_what_no_run_has_recorded_is_one_line(
    parse, capsys, tmp_path, text, message
):
  path = tmp_path / 'config.json'
  if text is not None:
    path.write_text(text)
  code, error = exit_of(capsys, parse, f'--config={path}')
  assert code == command_line.MISTAKE
  assert error.startswith('error: ' + message.format(tmp_path))
  assert '\n' not in error


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ['--config=configs/base.py', '--from=runs/a'],
            '--from brings its own config: leave --config out',
        ),
        (
            ['--from=runs/none'],
            'runs/none must be a workdir or its config.json; to continue a run,'
            ' pass its own config: --config=WORKDIR/config.json',
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
    ],
)
def test_a_mistake_is_one_line(parse, capsys, arguments, message):
  code, error = exit_of(capsys, parse, *arguments)
  assert (code, error) == (command_line.MISTAKE, f'error: {message}')


@pytest.mark.parametrize('arguments', [['--config=PATH'], ['--config', 'PATH']])
@pytest.mark.parametrize('path', ['no.py', '/etc/passwd', 'configs', ''])
def test_a_path_of_no_config_is_told_which_there_are(
    parse, capsys, arguments, path
):
  arguments = [x.replace('PATH', path) for x in arguments]
  code, error = exit_of(capsys, parse, *arguments)
  assert code == command_line.MISTAKE
  assert error.startswith(f'error: --config must be a .py file, got {path!r}:')
  assert 'configs/jrt_360m.py' in error and '__init__' not in error
  assert 'configs/ablations/feature_map.py' in error and '\n' not in error


def test_a_value_out_of_its_range_is_one_line_of_any_command(parse, capsys):
  arguments = ['--config=configs/base.py', '--config.batch_size=1000000000']
  code, error = exit_of(capsys, parse, *arguments)
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
    parse_runs, capsys, arguments, message
):
  code, error = exit_of(capsys, parse_runs, *arguments)
  assert code == command_line.MISTAKE
  assert error.startswith(f'error: {message}') and '\n' not in error


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('config.stpes = 3', "no key 'stpes': did you mean 'steps'?"),
        ('config.model.colour = 3', "no key 'colour'"),
        ('config = base.get_confg()', "no attribute 'get_confg'"),
        ('config = bace.get_config()', "NameError: name 'bace' is not defined"),
        ('import nowhere', "ModuleNotFoundError: No module named 'nowhere'"),
        ('config = = 3', 'SyntaxError: invalid syntax (mine.py, line 5)'),
        ('config.steps = -1', 'from 1 to 1,000,000,000, got -1'),
    ],
)
def test_a_mistake_in_a_config_file_is_one_line(
    parse, capsys, tmp_path, line, message
):
  path = tmp_path / 'mine.py'
  path.write_text(
      'from configs import base\n\ndef get_config():\n'
      f'  config = base.get_config()\n  {line}\n  return config\n'
  )
  code, error = exit_of(capsys, parse, f'--config={path}')
  assert code == command_line.MISTAKE
  assert error.startswith('error: ') and error.endswith(message)
  assert '\n' not in error


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (ValueError('B must be 2, got 3'), 'error: B must be 2, got 3'),
        (OSError(28, 'No space left'), 'error: [Errno 28] No space left'),
        (ValueError('two\nlines'), 'error: two\nlines'),
        (ValueError(), 'error: ValueError()'),
    ],
)
def test_an_error_of_the_arguments_is_a_mistake(capsys, error, message):
  end = exit_of(capsys, fail, command_line.one_line_errors(), error)
  assert end == (command_line.MISTAKE, message)


def test_help_is_no_failure(monkeypatch, capsys):
  values = define(monkeypatch, ['--help'])
  flags.DEFINE_flag(app.HelpFlag(), values)
  with pytest.raises(SystemExit) as end:
    command_line.parser()(sys.argv)
  said = capsys.readouterr()
  assert end.value.code == 0
  assert said.out and not said.err


@pytest.mark.parametrize(
    ('error', 'code', 'lines'),
    [
        ('KeyboardInterrupt', command_line.INTERRUPTED, ['', 'interrupted']),
        ('EOFError("no more")', 1, ['EOFError: no more']),
    ],
)
def test_ctrl_c_is_one_line_and_another_error_is_not(error, code, lines):
  program = f'from jrt_jax import command_line; raise {error}'
  done = subprocess.run(
      [sys.executable, '-c', program], capture_output=True, text=True
  )
  assert done.returncode == code
  assert done.stderr.splitlines()[-len(lines) :] == lines
  assert ('Traceback' in done.stderr) == (code == 1)


def test_an_output_is_made_room_for_before_the_work(tmp_path):
  file = command_line.output_file('--out', f'{tmp_path}/new/folder/a.json')
  assert file.parent.is_dir() and not file.exists()
  folder = command_line.output_folder('--out', f'{tmp_path}/other/folder')
  assert folder == tmp_path / 'other' / 'folder'
  assert not (tmp_path / 'other').exists()


@pytest.mark.parametrize(
    ('check', 'path', 'message'),
    [
        ('output_file', 'file/a', 'file that can be written.*Not a directory'),
        ('output_file', '', 'file that can be written.*Is a directory'),
        ('output_folder', 'file', 'folder that can be written.*Not a dir'),
        ('output_folder', 'file/a/b', 'folder that can be written.*Not a dir'),
    ],
)
def test_an_output_that_cannot_be_written_is_named(
    tmp_path, check, path, message
):
  (tmp_path / 'file').touch()
  with pytest.raises(ValueError, match=f'^--out must be a {message}'):
    getattr(command_line, check)('--out', f'{tmp_path}/{path}')


@pytest.mark.parametrize(
    'error',
    [
        jax.errors.JaxRuntimeError(
            'RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9'
            ' bytes.\n\nLargest program allocations:\n' + 9999 * '...'
        ),
        jax.errors.JaxRuntimeError('INTERNAL: Out of memory: allocate 9 bytes'),
        jax.errors.JaxRuntimeError(
            'INTERNAL: failed to allocate 9 bytes: CUDA_ERROR_OUT_OF_MEMORY'
        ),
        RuntimeError('std::bad_alloc, allocate 9 bytes'),
        MemoryError('Unable to allocate 9 bytes for an array'),
        OSError(12, 'Cannot allocate memory', 'allocate 9 bytes'),
    ],
)
def test_memory_that_does_not_suffice_ends_in_advice(capsys, error):
  code, line = exit_of(capsys, fail, command_line.one_line_failures(), error)
  assert code == command_line.FAILURE
  assert line.startswith('error: out of memory: lower config.microbatch_per')
  assert 'allocate 9 bytes' in line and '\n' not in line and len(line) < 400


def test_an_expected_failure_is_one_line(capsys):
  context = command_line.one_line_failures(KeyError, EOFError)
  end = exit_of(capsys, fail, context, EOFError('no more'))
  assert end == (command_line.FAILURE, 'error: no more')


@pytest.mark.parametrize(
    'error', [jax.errors.JaxRuntimeError('INTERNAL: bug'), ValueError('bug')]
)
def test_another_failure_keeps_its_traceback(error):
  with pytest.raises(type(error), match='bug'):
    fail(command_line.one_line_failures(KeyError), error)


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


def test_a_reader_who_has_enough_is_no_mistake():
  program = """
from jrt_jax import command_line
with command_line.one_line_errors():
  while True:
    print('more', flush=True)
"""
  with subprocess.Popen(
      [sys.executable, '-c', program],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
  ) as process:
    assert process.stdout.readline() == 'more\n'
    process.stdout.close()
    assert process.wait() == 141 and not process.stderr.read()
