"""The flags of commands that read files of text."""

from absl import flags

flags.disclaim_key_flags()  # --help shows them with the command's own flags


def define_text_key() -> flags.FlagHolder[str]:
  """Defines --text_key."""
  return flags.DEFINE_string(
      'text_key',
      'text',
      'The field of a jsonl record, or the column of a Parquet file, that has the'
      ' text.',
  )


def define_format() -> flags.FlagHolder[str | None]:
  """Defines --format; see `text_batches.text_format` for its default."""
  return flags.DEFINE_enum(
      'format',
      None,
      ['jsonl', 'text', 'parquet'],
      'Format of the text; default: as the extensions of the files say.',
  )


def define_separator() -> flags.FlagHolder[str]:
  """Defines --separator."""
  return flags.DEFINE_string(
      'separator',
      '<|endoftext|>',
      'The string between the documents of a text file; empty: each file is'
      ' one document.',
  )
