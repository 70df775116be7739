"""Names that commands, flags and arguments had before: what to write instead.

An old name does nothing but say its new one, in a line, and exits with 2.
"""

import sys
from typing import NoReturn

from jrt_jax.runtime.exit_codes import MISTAKE

COMMANDS = {
    'jrt_jax.evaluate': 'jrt_jax.lm_eval',
    'jrt_jax.evaluation': 'jrt_jax.lm_eval_cli',
    'jrt_jax.plays': 'jrt_jax.prefix_trials',
}


def tell_command(old: str) -> NoReturn:
  """Ends the program of a command that has another name now."""
  print(f'error: {old} is now python -m {COMMANDS[old]}', file=sys.stderr)
  sys.exit(MISTAKE)
