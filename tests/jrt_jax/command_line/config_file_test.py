import json
import os

import pytest

from configs import base
from jrt_jax import command_line


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
      ' model.pad_mask, mesh.data, mesh.fsdp, mesh.sequence, mesh.tensor: the'
      ' defaults of configs/base.py are used\n'
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
    parse, exit_of, tmp_path, text, message
):
  path = tmp_path / 'config.json'
  if text is not None:
    path.write_text(text)
  code, error = exit_of(parse, f'--config={path}')
  assert code == command_line.MISTAKE
  assert error.startswith('error: ' + message.format(tmp_path))
  assert '\n' not in error


@pytest.mark.parametrize('arguments', [['--config=PATH'], ['--config', 'PATH']])
@pytest.mark.parametrize('path', ['no.py', '/etc/passwd', 'configs', ''])
def test_a_path_of_no_config_is_told_which_there_are(
    parse, exit_of, arguments, path
):
  arguments = [x.replace('PATH', path) for x in arguments]
  code, error = exit_of(parse, *arguments)
  assert code == command_line.MISTAKE
  assert error.startswith(f'error: --config must be a .py file, got {path!r}:')
  assert 'configs/jrt_360m.py' in error and '__init__' not in error
  assert 'configs/ablations/feature_map.py' in error and '\n' not in error


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
    parse, exit_of, tmp_path, line, message
):
  path = tmp_path / 'mine.py'
  path.write_text(
      'from configs import base\n\ndef get_config():\n'
      f'  config = base.get_config()\n  {line}\n  return config\n'
  )
  code, error = exit_of(parse, f'--config={path}')
  assert code == command_line.MISTAKE
  assert error.startswith('error: ') and error.endswith(message)
  assert '\n' not in error
