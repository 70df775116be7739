"""The sources of text by their name in `config.data.source`.

The other sources are the tasks of `jrt_jax.data.synthetic.tasks`.
"""

from typing import NamedTuple


class Source(NamedTuple):
  """The facts of a source of text.

  Attributes:
    module: 'package.module:function'. With `of_documents` the function maps
      `config.data` to the texts of each split. Otherwise it also takes the
      tokenizer and `share`, and returns a TokenStream for each split: see
      `splits.token_streams`.
    settings: the keys of `config.data` that it reads.
    of_documents: whether the function returns texts, which are then tokenized
      in memory.
  """

  module: str
  settings: tuple[str, ...]
  of_documents: bool = False


_FILES = (
    'path',
    'mixture',
    'tokenizer',
    'validation_path',
    'validation_fraction',
)
_TEXT = 'jrt_jax.data.sources'

SOURCES = {
    'python_stdlib': Source(
        f'{_TEXT}:python_stdlib', ('tokenizer',), of_documents=True
    ),
    'text': Source(f'{_TEXT}:text', _FILES, of_documents=True),
    'jsonl': Source(f'{_TEXT}:jsonl', (*_FILES, 'text_key'), of_documents=True),
    'parquet': Source(
        f'{_TEXT}:parquet', (*_FILES, 'text_key'), of_documents=True
    ),
    'shards': Source(
        'jrt_jax.data.shards:open_splits',
        ('path', 'mixture', 'tokenizer', 'validation_fraction', 'verify'),
    ),
    'megatron': Source('jrt_jax.data.megatron:open_splits', _FILES),
}
