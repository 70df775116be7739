"""The config file that --config or --from names, and a folder for its run."""

from collections.abc import Mapping
import difflib
import itertools
import os
import pathlib
import re
from typing import Any

from absl import flags
from ml_collections import config_flags

import configs
from configs import base
from jrt_jax import dotted
from jrt_jax import local_paths
from jrt_jax.command_line import errors
from jrt_jax.runtime.exit_codes import MISTAKE


def find(argv: list[str], config: str) -> list[str]:
  """Returns `argv` with the path of a Python file as --config.

  Ends the program if there is no such file.

  Args:
    argv: the program and its arguments.
    config: the name of the flag for the config file.
  """
  argv = _with_files_found(argv, config)
  _check_file(argv, config)
  return argv


def workdir(config: str, given: str | None) -> tuple[pathlib.Path, bool]:
  """Returns the folder of a run, and whether its config is of another run.

  Args:
    config: the name of the flag for the config file.
    given: the folder; None for the one that is named after the config.

  Raises:
    ValueError: the config is of another run and no folder is given, or it is a
      URL.
  """
  path = config_flags.get_config_filename(flags.FLAGS[config])
  file, _, choice = path.partition(':')
  name = pathlib.Path(file).stem
  is_recorded = name == 'recorded'
  if is_recorded and not given:
    raise ValueError('--workdir must be given with the config of another run')
  local_paths.check('--workdir', given or '')
  return pathlib.Path(given or pathlib.Path('runs', name, choice)), is_recorded


def original(error: BaseException) -> BaseException:
  """Returns the error of a config file, without that of ml_collections."""
  while 'Error whilst parsing config file' in str(error) and error.__context__:
    error = error.__context__
  return error


def unknown_key(error: AttributeError) -> object:
  """Names the unknown key, and the one that ml_collections suggests."""
  meant = re.search('Did you mean "(.*)" instead of "(.*)"', str(error))
  if meant:
    right, wrong = meant.groups()
    return f'the config has no key {wrong!r}: did you mean {right!r}?'
  key = re.match(r'\W*(?:Key ")?(\w+)["\']', str(error))
  if key:
    return f'the config has no key {key.group(1)!r}'
  return error  # of another object than the config


def key_named(name: str) -> str | None:
  """Returns the key of a config with this name, if there is one only."""
  keys = dotted.flat(base.get_config().to_dict())
  inner = [key for key in keys if key.endswith(f'.{name}')]
  found = [name] if name in keys else inner
  return found[0] if len(found) == 1 else None


def check_quotes(config: str, values: Mapping[str, Any]) -> None:
  """Raises ValueError for names without quotes, which are parsed as one name.

  Args:
    config: the name of the flag for the config file.
    values: the config.
  """
  for key, value in dotted.flat(values).items():
    match value:
      case [str(text)] if ',' in text:
        names = tuple(x.strip() for x in text.strip('()[]').split(','))
        raise ValueError(
            f'--{config}.{key} must have quotes around each name, as in'
            f' --{config}.{key}="{names}", got {text}'
        )


def _with_files_found(argv, config):
  """Returns `argv` with the path of a Python file as --config.

  --config=….json and --from=WORKDIR become `configs/recorded.py:PATH`.
  """
  recorded = pathlib.Path(configs.__file__).with_name('recorded.py')
  arguments, sources, rest = [], [], iter(argv)
  for argument in rest:
    flag, equals, value = argument.partition('=')
    name = flag.lstrip('-')
    if flag != name and name in (config, 'from') and name in flags.FLAGS:
      value = value if equals else next(rest, '')
      if name == 'from' or value.endswith('.json'):
        value = f'{recorded}:{value}'
      else:
        value = _found(value)
      argument = f'--{config}={value}'
      sources.append(name)
    arguments.append(argument)
  if 'from' in sources and len(sources) > 1:
    errors.end(MISTAKE, f'--from brings its own config: leave --{config} out')
  return arguments


def _found(config):
  """Returns configs/FILE.py[:CHOICE] here, or else in the installed package."""
  path, *choice = config.split(':', 1)
  installed = pathlib.Path(configs.__file__).parents[1] / path
  is_ours = path.startswith('configs/') and installed.is_file()
  if not is_ours or os.path.isfile(path):
    return config
  return ':'.join([str(installed), *choice])


def _check_file(argv, config):
  """Raises an error that names a missing config file, and those that exist."""
  for argument, following in itertools.zip_longest(argv, argv[1:]):
    flag, equals, value = argument.partition('=')
    path = (value if equals else following or '').partition(':')[0]
    wrong = not path.endswith('.py') or not os.path.isfile(path)
    if flag in (f'-{config}', f'--{config}') and wrong:
      folder = pathlib.Path(configs.__file__).parent
      there = sorted(folder.glob('**/[a-z]*.py'))
      names = [str(file.relative_to(folder.parent)) for file in there]
      near = path.endswith('.py') and difflib.get_close_matches(path, names, 1)
      hint = f'there are {", ".join(names)}'
      if near:
        hint = f'did you mean {near[0]}?'
      errors.end(
          MISTAKE, f'--{config} must be a .py file, got {path!r}: {hint}'
      )
