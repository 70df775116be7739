"""Flags that several commands have."""

from absl import flags

flags.disclaim_key_flags()  # --help shows them with the command's own flags


def define_workdir() -> flags.FlagHolder[str | None]:
  """Defines --workdir, for commands that use one trained model."""
  return flags.DEFINE_string(
      'workdir', None, 'The workdir of the run whose model is used.'
  )


def define_tokenizer() -> flags.FlagHolder[str | None]:
  """Defines --tokenizer, for commands that use trained models."""
  return flags.DEFINE_string(
      'tokenizer',
      None,
      'Path of the tokenizer.json, if it has moved since training.',
  )


def define_batch_size(what: str) -> flags.FlagHolder[int]:
  """Defines --batch_size, how many of `what` a model takes at once."""
  return flags.DEFINE_integer(
      'batch_size', 8, f'How many {what} at once.', lower_bound=1
  )


def define_limit() -> flags.FlagHolder[int | None]:
  """Defines --limit, for commands that evaluate tasks."""
  return flags.DEFINE_integer(
      'limit', None, 'The most examples of each task.', lower_bound=1
  )


def define_compilation_cache() -> flags.FlagHolder[bool]:
  """Defines --nocompilation_cache, for commands that compile."""
  return flags.DEFINE_bool(
      'compilation_cache',
      True,
      'Keep compiled programs for later commands, in ~/.cache/jrt_jax.',
  )


def use_compilation_cache() -> None:
  """Keeps compiled programs on disk, unless --nocompilation_cache is given."""
  from jrt_jax.runtime import compilation_cache  # imports jax, which takes long

  if flags.FLAGS.compilation_cache:
    compilation_cache.turn_on()
