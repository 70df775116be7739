"""Makes commands fail with one clear line and an exit code that is not 0.

From the import of this module on, Ctrl-C also prints one line: commands import
it before modules that take long. Only commands may import it, because it
changes the program.
"""

from collections.abc import Callable, Iterator
import contextlib
import difflib
import errno
import itertools
import logging as python_logging
import os
import pathlib
import re
import sys
import tempfile

from absl import flags
from absl import logging

import configs
from configs import base
from jrt_jax import renamed
from jrt_jax.runtime.exit_codes import FAILURE
from jrt_jax.runtime.exit_codes import INTERRUPTED
from jrt_jax.runtime.exit_codes import MISTAKE
from jrt_jax.runtime.exit_codes import UNREAD

flags.disclaim_key_flags()  # --help shows them with the command's own flags

# How XLA, CUDA, the C++ library and the system report that memory ran out.
_NO_MEMORY = re.compile(
    'RESOURCE_EXHAUSTED|out of memory|OUT_OF_MEMORY|bad_alloc'
    '|(failed to|cannot|unable to) allocate',
    re.IGNORECASE,
)
_LONGEST_REASON = 200  # characters; XLA goes on with lists of buffers


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
      argv = _with_files_found(argv, config)
      _check_file(argv, config)
    try:
      rest = flags.FLAGS(argv)[1:]
    except SystemExit:  # after --help, with the exit code of a failure
      sys.exit(0)
    except AttributeError as error:  # mostly a ConfigDict without that key
      _exit(MISTAKE, _unknown_key(error))
    except flags.UnrecognizedFlagError as error:
      _exit(
          MISTAKE, renamed.flag(error.flagname, flags.FLAGS) or _of_flag(error)
      )
    except (flags.Error, OSError, KeyError, TypeError, ValueError) as error:
      _exit(MISTAKE, _of_flag(_of_config_file(error)))
    except Exception as error:  # a config file is a program
      _exit(MISTAKE, f'--{config}: {type(error).__name__}: {error}')
    if not flags.FLAGS['verbosity'].present:  # libraries log too much
      logging.set_verbosity(logging.WARNING)
    # jax lists there the plugins that it does not find.
    python_logging.getLogger('jax._src.xla_bridge').addFilter(_shorten)
    if rest and not arguments:
      wrong = f'arguments must start with --, got {rest[0]!r}'
      _exit(MISTAKE, renamed.argument() or wrong)
    if arguments and not rest:
      _exit(MISTAKE, f'at least one of {arguments} must be given')
    if config and flags.FLAGS[config].value is None:
      _exit(MISTAKE, f'--{config}=configs/NAME.py must be given')
    if config:
      with one_line_errors():
        base.check(flags.FLAGS[config].value.to_dict())
    return argv[:1] + rest

  return parse


def define_compilation_cache() -> flags.FlagHolder[bool]:
  """Defines --nocompilation_cache, for commands that compile."""
  return flags.DEFINE_bool(
      'compilation_cache',
      True,
      'Keep compiled programs for later commands, in ~/.cache/jrt_jax.',
  )


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
  """Turns errors about the arguments into one line and exit code 2."""
  try:
    yield
  except BrokenPipeError:  # the reader, such as `head`, has closed it
    # At exit, Python would try to write the rest.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(UNREAD)
  except (ValueError, OSError, NotImplementedError) as error:
    _exit(MISTAKE, error)


@contextlib.contextmanager
def reading(argument: str) -> Iterator[None]:
  """Raises a ValueError that names the argument if a file cannot be read."""
  try:
    yield
  except OSError as error:
    if error.filename is None:  # its message is already clear
      raise
    raise ValueError(
        f'{argument} must be a file that can be read, got'
        f' {str(error.filename)!r}: {error.strerror}'
    ) from error


def output_file(argument: str, path: str) -> pathlib.Path:
  """Returns a path that can be written, so that a command fails early if not.

  Creates the folder of the file if necessary.

  Raises:
    ValueError: the file cannot be written; the message names the argument.
  """
  file = pathlib.Path(path).expanduser()
  with _named(f'{argument} must be a file that can be written, got {path!r}'):
    if file.is_dir():
      raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if file.exists() and not os.access(file, os.W_OK):
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    _check_writable(file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
  return file


def output_folder(argument: str, path: str) -> pathlib.Path:
  """Returns the path of a writable folder, or of one that can be created.

  Raises:
    ValueError: it is neither; the message names the argument.
  """
  folder = pathlib.Path(path).expanduser()
  with _named(f'{argument} must be a folder that can be written, got {path!r}'):
    _check_writable(folder)
  return folder


@contextlib.contextmanager
def one_line_failures(
    *expected: type[Exception],
    advice: str = (
        'lower config.microbatch_per_device or set config.model.remat=full'
    ),
) -> Iterator[None]:
  """Ends the program with one line on `expected` errors and out of memory.

  Args:
    *expected: classes of errors whose messages are shown as they are.
    advice: what to do if memory runs out.
  """
  try:
    yield
  except expected as error:
    _exit(FAILURE, error)
  except (MemoryError, OSError, RuntimeError) as error:  # the last is jax's
    if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
      raise
    reason = ' '.join((str(error) or repr(error)).split())
    _exit(FAILURE, f'out of memory: {advice} ({reason[:_LONGEST_REASON]})')


@contextlib.contextmanager
def _named(problem):
  """Turns an OSError into a ValueError that begins with `problem`."""
  try:
    yield
  except OSError as error:
    raise ValueError(f'{problem}: {error.strerror}') from error


def _check_writable(folder):
  """Raises OSError unless files can be created in it or in its parent."""
  there = next(path for path in (folder, *folder.parents) if path.exists())
  tempfile.TemporaryFile(dir=there).close()


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
    _exit(MISTAKE, f'--from brings its own config: leave --{config} out')
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
      _exit(MISTAKE, f'--{config} must be a .py file, got {path!r}: {hint}')


def _of_config_file(error):
  """The error of a config file, without the traceback of ml_collections."""
  while 'Error whilst parsing config file' in str(error) and error.__context__:
    error = error.__context__
  return error


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
  return error


def _unknown_key(error):
  """Names the unknown key, and the one that ml_collections suggests."""
  meant = re.search('Did you mean "(.*)" instead of "(.*)"', str(error))
  if meant:
    right, wrong = meant.groups()
    return f'the config has no key {wrong!r}: did you mean {right!r}?'
  key = re.match(r'\W*(?:Key ")?(\w+)["\']', str(error))
  if key:
    return f'the config has no key {key.group(1)!r}'
  return error  # of another object than the config


def _shorten(record):
  """Makes one line of a log message with a traceback."""
  if not record.exc_info:
    return True
  logging.debug('error', exc_info=record.exc_info)  # --verbosity=1 shows it
  reason = ' '.join(str(record.exc_info[1]).split())
  print(f'warning: {record.getMessage()}: {reason}', file=sys.stderr)
  return False


def _tell_interrupt(kind, error, trace):
  """Prints one line after Ctrl-C; passes other errors on."""
  if not issubclass(kind, KeyboardInterrupt):
    return _tell_error(kind, error, trace)
  print('\ninterrupted', file=sys.stderr)
  sys.exit(INTERRUPTED)


_tell_error, sys.excepthook = sys.excepthook, _tell_interrupt


def _exit(code, error):
  logging.debug('error', exc_info=True)  # --verbosity=1 shows it
  first, *rest = (str(error).strip() or repr(error)).splitlines()
  print('\n'.join([f'error: {first}', *rest]), file=sys.stderr)
  sys.exit(code)
