"""How commands fail: one clear line, and an exit code that is not 0.

Ctrl-C is one line as well, from the import of this module on: commands import
it before what takes long to import. Nothing else may import it: that changes the
program.
"""

from collections.abc import Callable, Iterator
import contextlib
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

flags.disclaim_key_flags()  # --help has them among those of the command

# How XLA, CUDA, the C++ library and the system say that memory is short.
_NO_MEMORY = re.compile(
    'RESOURCE_EXHAUSTED|out of memory|OUT_OF_MEMORY|bad_alloc'
    '|(failed to|cannot|unable to) allocate',
    re.IGNORECASE,
)
_LONGEST_REASON = 200  # characters; XLA goes on with lists of buffers


def parser(
    *, config: str | None = None, arguments: str | None = None
) -> Callable[[list[str]], list[str]]:
  """Returns a parser of flags for `app.run` that ends on the first mistake.

  `main` gets the name of the program, and the arguments that are no flags.

  Args:
    config: the flag of the config file, which must be given; None if the
      command has no config.
    arguments: what to call arguments that are no flags, of which one at least
      must be given; None if there must be none.
  """

  def parse(argv):
    if config:
      argv = _with_files_found(argv, config)
      _check_file(argv, config)
    try:
      rest = flags.FLAGS(argv)[1:]
    except SystemExit:  # after the text of --help, with a code of failures
      sys.exit(0)
    except AttributeError as error:  # of a ConfigDict without that key, mostly
      _exit(MISTAKE, _unknown_key(error))
    except flags.UnrecognizedFlagError as error:
      _exit(MISTAKE, renamed.flag(error.flagname, flags.FLAGS) or error)
    except (flags.Error, OSError, KeyError, TypeError, ValueError) as error:
      _exit(MISTAKE, _of_config_file(error))
    except Exception as error:  # a config file is a program
      _exit(MISTAKE, f'--{config}: {type(error).__name__}: {error}')
    if not flags.FLAGS['verbosity'].present:  # libraries tell too much
      logging.set_verbosity(logging.WARNING)
    # Of jax, which says there what plugins it goes on without.
    python_logging.getLogger('jax._src.xla_bridge').addFilter(_shorten)
    if rest and not arguments:
      wrong = f'arguments must start with --, got {rest[0]!r}'
      _exit(MISTAKE, renamed.argument() or wrong)
    if arguments and not rest:
      _exit(MISTAKE, f'{arguments} must be given, at least one')
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
      'Keep what is compiled, for later commands, in ~/.cache/jrt_jax.',
  )


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
  """Ends the program on errors that say what is wrong with the arguments."""
  try:
    yield
  except BrokenPipeError:  # who read the output, as `head` does, has enough
    # Python would write what is left when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(UNREAD)
  except (ValueError, OSError, NotImplementedError) as error:
    _exit(MISTAKE, error)


@contextlib.contextmanager
def reading(argument: str) -> Iterator[None]:
  """Names the argument whose file cannot be read, by a ValueError."""
  try:
    yield
  except OSError as error:
    if error.filename is None:  # it says itself what is wrong
      raise
    raise ValueError(
        f'{argument} must be a file that can be read, got'
        f' {str(error.filename)!r}: {error.strerror}'
    ) from error


def output_file(argument: str, path: str) -> pathlib.Path:
  """Returns a path that can be written; before the work rather than after it.

  Its folder is made if need be.

  Raises:
    ValueError: it cannot be written; the argument is named.
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
  """Returns a path that is, or could be made, a folder that can be written to.

  Raises:
    ValueError: it cannot; the argument is named.
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
  """Ends the program on `expected` errors, and when memory does not suffice.

  Args:
    *expected: errors that say what went wrong.
    advice: what to do when memory does not suffice.
  """
  try:
    yield
  except expected as error:
    _exit(FAILURE, error)
  except (MemoryError, OSError, RuntimeError) as error:  # jax's: the last
    if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
      raise
    reason = ' '.join((str(error) or repr(error)).split())
    _exit(FAILURE, f'out of memory: {advice} ({reason[:_LONGEST_REASON]})')


@contextlib.contextmanager
def _named(problem):
  """Says what an error of the file system means to the user."""
  try:
    yield
  except OSError as error:
    raise ValueError(f'{problem}: {error.strerror}') from error


def _check_writable(folder):
  """Raises OSError unless files can be made in it, or in what it would be in."""
  there = next(path for path in (folder, *folder.parents) if path.exists())
  tempfile.TemporaryFile(dir=there).close()


def _with_files_found(argv, config):
  """Returns `argv` in which --config names a Python file, by its path.

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
  """Returns configs/FILE.py[:CHOICE] as it is here, or else as it is installed."""
  path, *choice = config.split(':', 1)
  installed = pathlib.Path(configs.__file__).parents[1] / path
  is_ours = path.startswith('configs/') and installed.is_file()
  if not is_ours or os.path.isfile(path):
    return config
  return ':'.join([str(installed), *choice])


def _check_file(argv, config):
  """Names a missing file, and what there is, which ml_collections would not."""
  for argument, following in itertools.zip_longest(argv, argv[1:]):
    flag, equals, value = argument.partition('=')
    path = (value if equals else following or '').partition(':')[0]
    wrong = not path.endswith('.py') or not os.path.isfile(path)
    if flag in (f'-{config}', f'--{config}') and wrong:
      folder = pathlib.Path(configs.__file__).parent
      there = sorted(folder.glob('**/[a-z]*.py'))
      names = ', '.join(str(x.relative_to(folder.parent)) for x in there)
      _exit(
          MISTAKE,
          f'--{config} must be a .py file, got {path!r}: there are {names}',
      )


def _of_config_file(error):
  """What a config file has raised, which ml_collections tells with its trace."""
  while 'Error whilst parsing config file' in str(error) and error.__context__:
    error = error.__context__
  return error


def _unknown_key(error):
  """The key, and the one that ml_collections suggests, out of its message."""
  meant = re.search('Did you mean "(.*)" instead of "(.*)"', str(error))
  if meant:
    right, wrong = meant.groups()
    return f'the config has no key {wrong!r}: did you mean {right!r}?'
  key = re.match(r'\W*(?:Key ")?(\w+)["\']', str(error))
  if key:
    return f'the config has no key {key.group(1)!r}'
  return error  # of another object, in the config file


def _shorten(record):
  """Makes one line of a log message with a traceback."""
  if not record.exc_info:
    return True
  logging.debug('error', exc_info=record.exc_info)  # --verbosity=1 shows it
  reason = ' '.join(str(record.exc_info[1]).split())
  print(f'warning: {record.getMessage()}: {reason}', file=sys.stderr)
  return False


def _tell_interrupt(kind, error, trace):
  """Says that Ctrl-C ended the program; tells other errors as before."""
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
