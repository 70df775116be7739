"""Lists all commands: python -m jrt_jax."""

import os
import sys

from jrt_jax import commands
from jrt_jax.runtime.exit_codes import MISTAKE
from jrt_jax.runtime.exit_codes import UNREAD


def main(arguments: list[str]) -> int:
  """Returns what the program exits with."""
  words = [x for x in arguments if x not in ('-h', '-help', '--help')]
  if not words:
    return _show()
  names = commands.names()
  name = words[0] if words[0] in names else f'jrt_jax.{words[0]}'
  if name in names:
    wrong = f'a command is one word: python -m {name}'
  else:
    wrong = f'there is no command {words[0]!r}: python -m jrt_jax lists all'
  print(f'error: {wrong}', file=sys.stderr)
  return MISTAKE


def _show():
  try:
    print(commands.table(), flush=True)
    return 0
  except BrokenPipeError:  # who read it, as `head` does, has enough
    # Python would write what is left when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return UNREAD


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
