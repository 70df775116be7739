"""The splits of a config: texts as streams of tokens, or a synthetic task."""

from collections.abc import Mapping
import pathlib
import pkgutil

from jrt_jax.data import mixture
from jrt_jax.data import sources
from jrt_jax.data import streams
from jrt_jax.data.source_table import SOURCES
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.data.synthetic import tasks
from jrt_jax.data.vocabulary import Tokenizer

# A split is text, or samples of a synthetic task.
Split = streams.TokenStream | split_lib.Split


def splits(
    data: Mapping, tokenizer: Tokenizer, *, share: tuple[int, int] = (0, 1)
) -> dict[str, Split]:
  """Returns the splits 'train' and 'validation' of any source.

  Args:
    data, tokenizer, share: see `token_streams`.

  Raises:
    ValueError, FileNotFoundError: see `token_streams`.
  """
  if data['source'] in tasks.TASKS:
    return split_lib.splits(data['source'], data['synthetic'])
  return token_streams(data, tokenizer, share=share)


def token_streams(
    data: Mapping, tokenizer: Tokenizer, *, share: tuple[int, int] = (0, 1)
) -> dict[str, streams.TokenStream]:
  """Returns the tokens of the splits 'train' and 'validation'.

  A stream has the ids of its documents, with eos_id after each document. If a
  source has no held-out documents, the last `validation_fraction` of its tokens
  is held out. With `config.data.mixture` both are a `mixture.Mixture`.

  Args:
    data: `config.data`.
    tokenizer: what `tokenizers.load` returned.
    share: (part, parts), the part of the files that this process verifies.

  Raises:
    ValueError: a setting is wrong, a file is broken, or there is no text.
    FileNotFoundError: a path names no file.
  """
  source = data['source']
  if source in tasks.TASKS:
    raise ValueError(
        f'config.data.source must be text, got {source!r}, a synthetic task'
    )
  if data['mixture']:
    mixture.check(data)
    alone = [{**data, 'path': x, 'mixture': ()} for x, _ in data['mixture']]
    found = [token_streams(x, tokenizer, share=share) for x in alone]
    return mixture.of(data, found)
  facts = SOURCES[source]
  read = pkgutil.resolve_name(facts.module)
  if facts.of_documents:  # every process needs all tokens
    texts = _tokenized(read(data), data, tokenizer)
  else:
    texts = read(data, tokenizer, share=share)
  for split, stream in texts.items():
    if not len(stream):
      raise ValueError(f'config.data.source={source!r} has no {split} text')
  return texts


def stream_of_files(
    argument: str, patterns: str, tokenizer: Tokenizer, *, text_key: str
) -> streams.TokenStream:
  """Returns the tokens of files that are given to a command, in memory.

  Args:
    argument: the name of the argument, for error messages.
    patterns: comma-separated globs of files (plain, .gz or .zst). All are
      .jsonl or .parquet if the first one is, else text.
    tokenizer: what `tokenizers.load` returned.
    text_key: the field of a jsonl record, or the column of a Parquet file, that
      has the text.

  Raises:
    FileNotFoundError: a pattern matches no file.
    ValueError: a file does not have its format.
  """
  paths = sources.find(argument, patterns)
  suffixes = pathlib.Path(paths[0]).suffixes
  readers = {'.jsonl': sources.jsonl, '.parquet': sources.parquet}
  read = next((readers[x] for x in suffixes if x in readers), sources.text)
  data = {'path': patterns, 'validation_path': '', 'text_key': text_key}
  return streams.in_memory(streams.tokenize(read(data)['train'], tokenizer))


def _tokenized(documents, data, tokenizer):
  """Returns the splits of texts, tokenized in memory."""
  tokens = {
      split: streams.tokenize(texts, tokenizer)
      for split, texts in documents.items()
  }
  if 'validation' not in tokens:
    train = tokens['train']
    end = len(train) - int(data['validation_fraction'] * len(train))
    tokens = {'train': train[:end], 'validation': train[end:]}
  return {split: streams.in_memory(ids) for split, ids in tokens.items()}
