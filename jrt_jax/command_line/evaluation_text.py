"""The text of an evaluation: files that a flag names, or the data of a run."""

from collections.abc import Mapping

from absl import flags

from jrt_jax.command_line import files
from jrt_jax.data import splits
from jrt_jax.data.streams import TokenStream
from jrt_jax.generation.model import Model

flags.disclaim_key_flags()  # --help shows them with the command's own flags


def define_input(run: str) -> flags.FlagHolder[str | None]:
  """Defines --input, for text in place of that which `run` has held out."""
  return flags.DEFINE_string(
      'input',
      None,
      'Files to read: comma-separated globs of .jsonl or text files, also .gz'
      f' or .zst, or of .parquet files. Default: the held-out data of {run}.',
  )


def streams(
    model: Model,
    given: Mapping[str, flags.FlagHolder[str | None]],
    *,
    text_key: str,
) -> dict[str, TokenStream]:
  """Returns the tokens of splits.

  Args:
    model: its tokenizer is used, and the data of its run by default.
    given: by split, the flag for files that are read in its place.
    text_key: the field of a jsonl record that has the text.

  Raises:
    FileNotFoundError: a file does not exist.
    ValueError: a file cannot be read, or the data of the run is not text.
  """
  found = {}
  if not all(flag.value for flag in given.values()):
    data = {**model.config['data'], 'verify': False}  # training has done it
    found = splits.token_streams(data, model.tokenizer)
  for split, flag in given.items():
    if flag.value:
      argument = f'--{flag.name}'
      with files.reading(argument):
        found[split] = splits.stream_of_files(
            argument, flag.value, model.tokenizer, text_key=text_key
        )
  return found
