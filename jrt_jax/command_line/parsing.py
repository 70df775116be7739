"""Parses the flags of a command; the first mistake ends it with one line."""

from collections.abc import Callable
import logging as python_logging
import re
import sys

from absl import flags
from absl import logging

from configs import base
from jrt_jax import renamed
from jrt_jax.command_line import config_file
from jrt_jax.command_line import errors
from jrt_jax.runtime.exit_codes import MISTAKE


def parser(
    *, config: str | None = None, arguments: str | None = None
) -> Callable[[list[str]], list[str]]:
  """Returns a flag parser for `app.run` that exits at the first mistake.

  `main` receives the name of the program and the arguments that are not flags.

  Args:
    config: the name of the flag for the config file, which is then required;
      None if the command has no config.
    arguments: the name, in messages, of the arguments that are not flags; at
      least one is then required. None if there must be none.
  """

  def parse(argv):
    if config:
      argv = config_file.find(argv, config)
    try:
      rest = flags.FLAGS(argv)[1:]
    except SystemExit:  # after --help, with the exit code of a failure
      sys.exit(0)
    except AttributeError as error:  # mostly a ConfigDict without that key
      errors.end(MISTAKE, config_file.unknown_key(error))
    except flags.UnrecognizedFlagError as error:
      new = renamed.flag(error.flagname, flags.FLAGS)
      key = config and config_file.key_named(error.flagname)
      if key and not new:
        new = f'there is no flag --{error.flagname}: did you mean --{config}.{key}?'
      errors.end(MISTAKE, new or _of_flag(error))
    except (flags.Error, OSError, KeyError, TypeError, ValueError) as error:
      errors.end(MISTAKE, _of_flag(config_file.original(error)))
    except Exception as error:  # a config file is a program
      errors.end(MISTAKE, f'--{config}: {type(error).__name__}: {error}')
    if not flags.FLAGS['verbosity'].present:  # libraries log too much
      logging.set_verbosity(logging.WARNING)
    # jax lists there the plugins that it does not find.
    python_logging.getLogger('jax._src.xla_bridge').addFilter(errors.shorten)
    if rest and not arguments:
      wrong = f'arguments must start with --, got {rest[0]!r}'
      errors.end(MISTAKE, renamed.argument() or wrong)
    if arguments and not rest:
      errors.end(MISTAKE, f'at least one of {arguments} must be given')
    if config and flags.FLAGS[config].value is None:
      errors.end(MISTAKE, f'--{config}=configs/NAME.py must be given')
    if config:
      with errors.one_line_errors():
        values = flags.FLAGS[config].value.to_dict()
        config_file.check_quotes(config, values)
        base.check(values)
    return argv[:1] + rest

  return parse


def _of_flag(error):
  """Rewords what absl and Python say of a flag, in the style of our errors."""
  unknown = re.fullmatch(
      r"Unknown command line flag '(.*?)'(?:\. Did you mean: (\S+).*)?",
      str(error),
      re.DOTALL,
  )
  if unknown:
    wrong, right = unknown.groups()
    hint = f': did you mean --{right}?' if right else ''
    return f'there is no flag --{wrong}{hint}'
  number = re.fullmatch(
      r'flag (--[\w.]+)=(.*): (?:invalid literal for (int)|could not convert .*'
      r' to float).*',
      str(error),
      re.DOTALL,
  )
  if number:
    flag, value, whole = number.groups()
    kind = 'a whole number' if whole else 'a number'
    return f'{flag} must be {kind}, got {value!r}'
  outside = re.fullmatch(r'flag (--[\w.]+)=(.*): \S+ is not (.*)', str(error))
  if outside:
    flag, value, kind = outside.groups()
    kind = kind.replace('integer >=', 'a whole number of at least')
    return f'{flag} must be {kind}, got {value}'
  return error
