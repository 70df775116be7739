"""Old names of commands, flags and arguments, and the new ones.

A command with an old name only prints one line with its new name, and exits
with 2.
"""

from collections.abc import Container
import sys
from typing import NoReturn

from jrt_jax.runtime.exit_codes import MISTAKE

COMMANDS = {
    'jrt_jax.evaluate': 'jrt_jax.lm_eval',
    'jrt_jax.evaluation': 'jrt_jax.lm_eval_cli',
    'jrt_jax.plays': 'jrt_jax.prefix_trials',
}


# By their old name, what flags are called now, each in some commands.
FLAGS = {
    'budget': ('time_budget', 'token_budget'),
    'file': ('input',),
    'json': ('out',),
    'prompts': ('num_prompts',),
    'table': ('trials',),
    'task': ('tasks',),
    'train': ('input',),
    'workers': ('processes',),
}

# By the command, what once was an argument without a flag.
ARGUMENTS = {
    'jrt_jax.plot': 'RUN is now --workdir=RUN, or RUN,RUN',
    'jrt_jax.prefix.preview': 'FILE is now --input=FILE',
    'jrt_jax.prompting.preview': 'FILE is now --input=FILE',
}

# By the old name, conversions of `jrt_jax.convert` and their flags.
CONVERSIONS = {
    'from-hf': 'from_hf --input=DIR --workdir=WORKDIR',
    'from-official': 'from_official --input=DIR --workdir=WORKDIR',
    'to-compact': 'to_compact --workdir=WORKDIR --out=DIR',
    'to-official': 'to_official --workdir=WORKDIR --out=DIR',
}


def flag(old: str, flags: Container[str]) -> str | None:
  """Returns what to write in place of an unknown flag, if one was renamed.

  Args:
    old: the name of the unknown flag.
    flags: those of the command.
  """
  new = next((name for name in FLAGS.get(old, ()) if name in flags), None)
  return f'--{old} is now --{new}' if new else None


def argument() -> str | None:
  """Returns what to write in place of an argument of the present command."""
  spec = sys.modules['__main__'].__spec__
  return ARGUMENTS.get(spec.name) if spec else None


def tell_command(old: str) -> NoReturn:
  """Prints the new name of a command, and ends the program."""
  print(f'error: {old} is now python -m {COMMANDS[old]}', file=sys.stderr)
  sys.exit(MISTAKE)
