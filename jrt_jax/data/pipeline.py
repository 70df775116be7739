"""From documents to batches: token streams, windows, examples."""

from collections.abc import Mapping
import functools
import pathlib
import pkgutil
import time
from typing import Any

import grain
import numpy as np

from jrt_jax.data import objectives
from jrt_jax.data import packings
from jrt_jax.data import sources
from jrt_jax.data import streams
from jrt_jax.data import tokenizers
from jrt_jax.data.source_table import SOURCES
from jrt_jax.data.synthetic import examples
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.data.synthetic import tasks
from jrt_jax.prefix import fitting
from jrt_jax.prefix import policies


class UnknownId(ValueError):
  """The data has an id that the tokenizer does not have."""


Tokenizer = tokenizers.Bytes | tokenizers.TokenizerJson | split_lib.Ids
# A split is text, or samples of a synthetic task.
Split = streams.TokenStream | split_lib.Split


def load_tokenizer(data: Mapping) -> Tokenizer:
  """Returns the tokenizer of `config.data`; for synthetic tasks, `Ids`.

  Raises:
    FileNotFoundError, ValueError: see `tokenizers.load`.
  """
  if data['source'] in tasks.TASKS:
    return split_lib.Ids(
        data['synthetic']['num_ids'] or tasks.TASKS[data['source']].num_ids
    )
  return tokenizers.load(data['tokenizer'])


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
  is held out.

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
      .jsonl if the first one is, else text.
    tokenizer: what `tokenizers.load` returned.
    text_key: the field of a jsonl record that has the text.

  Raises:
    FileNotFoundError: a pattern matches no file.
    ValueError: a file does not have its format.
  """
  paths = sources.find(argument, patterns)
  is_jsonl = '.jsonl' in pathlib.Path(paths[0]).suffixes
  read = sources.jsonl if is_jsonl else sources.text
  data = {'path': patterns, 'validation_path': '', 'text_key': text_key}
  return streams.in_memory(streams.tokenize(read(data)['train'], tokenizer))


def batches(
    tokens: Split,
    *,
    sequence_length: int,
    batch_size: int,
    objective: Mapping,
    prefix: Mapping,
    num_ids: int,
    mask_id: int,
    seed: int,
    training: bool,
    packing: str = 'concat',
    repeat: float = 0.0,
    eos_id: int = -1,
    num_threads: int = 4,
    share: tuple[int, int] = (0, 1),
) -> grain.DatasetIterator:
  """Returns an iterator over batches of examples, or over a part of each batch.

  Windows of L + 1 tokens start at every L-th token. Training shuffles them anew
  in each epoch and never ends. Evaluation reads them once, in order, and leaves
  out those that do not fill a batch. Synthetic tasks never end.

  Prefixes and masks depend only on the seed and on the place of the example in
  the whole run, not on threads, batches or parts. The iterator's `get_state()`
  is a JSON value that counts batches. After `set_state(state)` the iterator
  yields exactly the batches that came after `get_state()`, without reading the
  earlier ones, also with another number of parts.

  Args:
    tokens: a split; it is not copied.
    sequence_length: L, tokens that the model reads in an example.
    batch_size: B, examples in a batch, over all parts.
    objective: `config.objective`.
    prefix: `config.prefix`, as `fitting.fitted` returns it.
    num_ids: number of ids of the tokenizer; others are an error.
    mask_id: the id of [MASK].
    seed: the seed of the order, the prefixes and the masks.
    training: whether to shuffle and to repeat.
    packing: `config.data.packing`, a key of `packings.PACKINGS`.
    repeat: `config.data.repeat`, the probability that a training example shows
      its first document twice, see `packings.repeated`; prefix and masks are
      drawn afterwards.
    eos_id: the id that ends a document, for packings that separate documents.
    num_threads: number of threads that prepare batches in advance; 0: none.
    share: (part, parts): the iterator yields rows part * B / parts to
      (part + 1) * B / parts of each batch.

  Returns:
    An iterator over dicts of `tokens` and `targets` int32 [B, L],
    `supervision` int8 [B, L] and `prefix_len` int32 [B], where B is the number
    of rows of the part; with packing 'documents' also `segment_ids` int32
    [B, L].

  Raises:
    ValueError: a setting is wrong, or the stream is too short.
    UnknownId: the stream has an id that the tokenizer does not have; the
      iterator raises this.
  """
  part, parts = share
  if batch_size % parts:
    raise ValueError(
        f'{batch_size=} must be a multiple of the {parts} processes that'
        ' divide it'
    )
  objectives.check(objective, prefix, sequence_length)
  how = dict(
      sequence_length=sequence_length,
      batch_size=batch_size,
      objective=objective,
      prefix=prefix,
      mask_id=mask_id,
      seed=seed,
  )
  if isinstance(tokens, split_lib.Split):
    dataset = examples.dataset(tokens, packing=packing, repeat=repeat, **how)
  else:
    dataset = _windows_dataset(
        tokens,
        num_ids=num_ids,
        training=training,
        packing=packing,
        repeat=repeat if training else 0.0,
        eos_id=eos_id,
        **how,
    )
  # Parts are taken last, since draws depend on the place in the whole run.
  dataset = dataset.batch(batch_size // parts, drop_remainder=True)
  dataset = dataset[part::parts]
  # Grain's own default would hold 500 batches.
  options = grain.ReadOptions(
      num_threads=num_threads, prefetch_buffer_size=2 * num_threads
  )
  return iter(dataset.to_iter_dataset(options))


def _windows_dataset(
    tokens,
    *,
    sequence_length,
    batch_size,
    objective,
    prefix,
    num_ids,
    mask_id,
    seed,
    training,
    packing,
    repeat,
    eos_id,
):
  """The examples of a text, in the order of a run."""
  example = _example_maker(
      *(sequence_length, objective, prefix, mask_id, packing, eos_id),
      repeat=repeat,
  )
  if len(tokens) <= sequence_length:
    raise ValueError(
        f'config.sequence_length={sequence_length} needs more tokens than that'
        f' {"to train on" if training else "held out"}, got {len(tokens)}'
    )
  windows = _Windows(tokens, sequence_length, num_ids)
  dataset = grain.MapDataset.source(windows).seed(seed)
  if training:
    dataset = dataset.shuffle().repeat()
  elif len(windows) < batch_size:
    raise ValueError(
        f'the held-out data must have at least {batch_size} windows of'
        f' {sequence_length + 1} tokens, since so many are evaluated at once,'
        f' got {len(windows)}: hold out more data, or lower'
        ' config.microbatch_per_device'
    )
  else:  # the same batches for every part
    dataset = dataset[: len(windows) // batch_size * batch_size]
  return dataset.random_map(example)


def tokens_per_second(
    iterator: grain.DatasetIterator, seconds: float = 0.5
) -> float:
  """Returns how many tokens a second `batches` yields, and closes the iterator.

  Args:
    iterator: an iterator for this measurement only; its batches are lost.
    seconds: how long to measure; at least one batch is read.
  """
  tokens, start = 0, time.perf_counter()
  while (elapsed := time.perf_counter() - start) < seconds or not tokens:
    tokens += next(iterator)['tokens'].size
  iterator.close()
  return tokens / elapsed


def mean_prefix(
    tokens: Split,
    *,
    sequence_length: int,
    prefix: Mapping,
    packing: str,
    eos_id: int,
    repeat: float = 0.0,
) -> float:
  """Returns the mean prefix length; of documents it is measured on a sample.

  Args:
    tokens: the training split.
    sequence_length, prefix, packing, eos_id, repeat: see `batches`.
  """
  if isinstance(tokens, split_lib.Split):
    rng = np.random.default_rng(0)
    lengths = policies.lengths(tokens.prompts(), prefix, sequence_length, rng)
    return float(lengths.mean())
  if packing == 'concat':
    return policies.mean_prefix(prefix, sequence_length)
  windows = fitting.sample_windows(tokens, sequence_length)

  def mean(windows):
    documents = (packings.first_document(x, eos_id) for x in windows)
    return np.mean([policies.mean_prefix(prefix, len(x)) for x in documents])

  once, again = mean(windows), 0.0
  if repeat:
    again = mean([packings.repeated(x, eos_id) for x in windows])
  return float((1 - repeat) * once + repeat * again)


def with_vocabulary(
    model: Mapping, tokenizer: Tokenizer, objective: Mapping
) -> dict[str, Any]:
  """Returns `config.model` with an id for every token and for [MASK].

  If the vocabulary is too small, it becomes that of the tokenizer followed by
  [MASK]; otherwise it is unchanged.

  Raises:
    ValueError: the vocabulary is large enough, but mask_id is the id of a token
      or not in the vocabulary.
  """
  size, has_masks = tokenizer.size, objectives.has_masks(objective)
  vocab_size, mask_id = model['vocab_size'], model['mask_id']
  if size + has_masks > vocab_size:
    return {**model, 'vocab_size': size + 1, 'mask_id': size}
  if has_masks and not size <= mask_id < vocab_size:
    raise ValueError(
        f"config.model.mask_id must lie beyond the tokenizer's {size} ids and"
        f' below {vocab_size=}, got {mask_id}'
    )
  return dict(model)


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


def _example_maker(
    sequence_length, objective, prefix, mask_id, packing, eos_id, *, repeat
):
  """Returns a map from `(window, rng)` to an example."""
  policies.make(prefix, sequence_length)  # checks the settings
  policy = functools.partial(policies.of_document, prefix=prefix)
  make_example = functools.partial(
      objectives.OBJECTIVES[objective['name']].make,
      objective=objective,
      mask_id=mask_id,
  )

  def example(window, rng):
    if repeat and rng.random() < repeat:
      window = packings.repeated(window, eos_id)
    return packings.PACKINGS[packing](
        window, policy=policy, make_example=make_example, eos_id=eos_id, rng=rng
    )

  return example


class _Windows:
  """Windows int [L + 1]; the last token of one is the first of the next."""

  def __init__(self, tokens, sequence_length, num_ids):
    self._tokens = tokens
    self._length = sequence_length
    self._num_ids = num_ids

  def __len__(self):
    return (len(self._tokens) - 1) // self._length

  def __getitem__(self, i):
    start = i * self._length
    window = self._tokens[start : start + self._length + 1]
    unknown = np.flatnonzero((window < 0) | (window >= self._num_ids))
    if len(unknown):
      raise UnknownId(
          'the data must have ids of its tokenizer only, in'
          f' [0, {self._num_ids}), got {window[unknown[0]]} at token'
          f' {start + unknown[0]:,}: prepare the data again'
      )
    return window
