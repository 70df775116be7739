"""The sources of text, as `config.data.source` has them: a line each.

Synthetic tasks are the others, in `jrt_jax.data.synthetic.tasks`.
"""

from typing import NamedTuple


class Source(NamedTuple):
  """The facts of a source of text.

  Attributes:
    module: 'package.module:function'; the function maps `config.data`. Of
      documents, that is all, and it gives their texts by split. Otherwise it
      takes the tokenizer and `share` too, and gives a TokenStream by split: see
      `pipeline.token_streams`.
    settings: keys of `config.data` that are its own.
    of_documents: whether the function gives texts, which are tokenized in
      memory.
  """

  module: str
  settings: tuple[str, ...]
  of_documents: bool = False


_FILES = ('path', 'tokenizer', 'validation_path', 'validation_fraction')
_TEXT = 'jrt_jax.data.sources'

SOURCES = {
    'python_stdlib': Source(
        f'{_TEXT}:python_stdlib', ('tokenizer',), of_documents=True
    ),
    'text': Source(f'{_TEXT}:text', _FILES, of_documents=True),
    'jsonl': Source(f'{_TEXT}:jsonl', (*_FILES, 'text_key'), of_documents=True),
    'shards': Source(
        'jrt_jax.data.shards:open_splits',
        ('path', 'tokenizer', 'validation_fraction', 'verify'),
    ),
    'megatron': Source('jrt_jax.data.megatron:open_splits', _FILES),
}
