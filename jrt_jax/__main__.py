"""Lists all commands: python -m jrt_jax."""

import os
import sys

from jrt_jax import commands
from jrt_jax.runtime.exit_codes import MISTAKE
from jrt_jax.runtime.exit_codes import UNREAD


def main(arguments: list[str]) -> int:
  """Returns the exit code."""
  words = [x for x in arguments if x not in ('-h', '-help', '--help')]
  if not words:
    return _show()
  names = commands.names()
  name = words[0] if words[0] in names else f'jrt_jax.{words[0]}'
  if name in names:
    wrong = f'a command is a module of its own: python -m {name}'
  else:
    wrong = f'no command is called {words[0]!r}: python -m jrt_jax lists all'
  print(f'error: {wrong}', file=sys.stderr)
  return MISTAKE


def _show():
  try:
    print(commands.table(), flush=True)
    return 0
  except BrokenPipeError:  # the reader, such as `head`, has closed it
    # At exit, Python would try to write the rest.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return UNREAD


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
