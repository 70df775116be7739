"""Lists all commands: python -m jrt_jax."""

import sys

from jrt_jax import commands
from jrt_jax.runtime.exit_codes import MISTAKE

if __name__ == '__main__':
  given = [x for x in sys.argv[1:] if x not in ('-h', '-help', '--help')]
  if not given:
    print(commands.table())
  elif (name := f'jrt_jax.{given[0]}') in commands.names():
    sys.stderr.write(f'error: a command is one word: python -m {name}\n')
    sys.exit(MISTAKE)
  else:
    sys.stderr.write(
        f'error: there is no command {given[0]!r}: python -m jrt_jax lists all\n'
    )
    sys.exit(MISTAKE)
