"""The old name of a command; `jrt_jax/renamed.py` has the new one."""

from jrt_jax import renamed

if __name__ == '__main__':
  renamed.tell_command('jrt_jax.plays')
