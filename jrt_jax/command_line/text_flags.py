"""The flags of commands that read files of text."""

from collections.abc import Callable

from absl import flags

from jrt_jax.data import text_batches

flags.disclaim_key_flags()  # --help shows them with the command's own flags


def define_text_key() -> flags.FlagHolder[str]:
  """Defines --text_key."""
  return flags.DEFINE_string(
      'text_key',
      'text',
      'The field of a jsonl record, or the column of a Parquet file, that has the'
      ' text.',
  )


def define() -> Callable[[list[str]], dict[str, str]]:
  """Defines --format, --text_key and --separator.

  Returns:
    a function from the paths of --input to the keyword arguments of
    `text_batches.read` and `text_batches.documents`.
  """
  text_key = define_text_key()
  format = flags.DEFINE_enum(
      'format',
      None,
      ['jsonl', 'text', 'parquet'],
      'Format of the text; default: as the extensions of the files say.',
  )
  separator = flags.DEFINE_string(
      'separator',
      '<|endoftext|>',
      'The string between the documents of a text file; empty: each file is'
      ' one document.',
  )
  return lambda paths: {
      'format': format.value or text_batches.text_format(paths),
      'text_key': text_key.value,
      'separator': separator.value,
  }
