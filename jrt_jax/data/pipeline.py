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
  """The data hold an id that is no token's; its embedding was never trained."""


Tokenizer = tokenizers.Bytes | tokenizers.TokenizerJson | split_lib.Ids
# What a split may be: text, or samples that are drawn.
Split = streams.TokenStream | split_lib.Split


def load_tokenizer(data: Mapping) -> Tokenizer:
  """Returns the tokenizer of `config.data`; synthetic tasks have bare ids.

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
    ValueError, FileNotFoundError: likewise.
  """
  if data['source'] in tasks.TASKS:
    return split_lib.splits(data['source'], data['synthetic'])
  return token_streams(data, tokenizer, share=share)


def token_streams(
    data: Mapping, tokenizer: Tokenizer, *, share: tuple[int, int] = (0, 1)
) -> dict[str, streams.TokenStream]:
  """Returns the tokens of the splits 'train' and 'validation'.

  A stream is the ids of its documents, each document followed by eos_id. A
  source without held-out documents gives the last `validation_fraction` of its
  tokens.

  Args:
    data: `config.data`.
    tokenizer: what `tokenizers.load` returned.
    share: (part, parts), which of the files this process verifies.

  Raises:
    ValueError: a setting is wrong, a file is broken, or there is no text.
    FileNotFoundError: a path names no file.
  """
  source = data['source']
  if source in tasks.TASKS:
    raise ValueError(
        f'config.data.source must be text here, got {source!r}, which has none'
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
    argument: what `patterns` is the value of, for errors.
    patterns: comma-separated globs of .jsonl (as the first says) or text files,
      plain, .gz or .zst.
    tokenizer: what `tokenizers.load` returned.
    text_key: where a jsonl record keeps its text.

  Raises:
    FileNotFoundError: a pattern names no file.
    ValueError: a file is no such file.
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

  Windows of L + 1 tokens start at every L-th token. Training shuffles them,
  anew in each epoch, and never ends; otherwise they come once, in order, and
  those that do not fill a batch are left out. What is drawn never ends.

  Prefixes and masks depend on the seed and the example's place in the whole
  run only: not on threads, and not on how examples form batches or parts. The
  iterator's `get_state()` is a JSON-able count of batches; after
  `set_state(state)` come exactly the batches that came after `get_state()`,
  found without reading what is before them, in any number of parts.

  Args:
    tokens: a split; it is not copied.
    sequence_length: L, tokens that the model reads in an example.
    batch_size: B, examples in a batch, over all parts.
    objective: `config.objective`.
    prefix: `config.prefix`, as `fitting.fitted` returns it.
    num_ids: that the tokenizer has; the stream must have no other.
    mask_id: the id of [MASK].
    seed: of the order, the prefixes and the masks.
    training: whether to shuffle and to repeat.
    packing: `config.data.packing`, a name of `packing.PACKINGS`.
    repeat: `config.data.repeat`, the chance of a training example to be what
      `packings.repeated` returns; prefix and masks are drawn of that.
    eos_id: the id that ends a document, for packing that divides them.
    num_threads: that make batches ahead; 0 makes them when asked.
    share: (part, parts): of each batch come rows part * B / parts to
      (part + 1) * B / parts.

  Returns:
    An iterator over dicts of `tokens` and `targets` int32 [B, L],
    `supervision` int8 [B, L] and `prefix_len` int32 [B], where B is that of the
    part; with packing 'documents' also `segment_ids` int32 [B, L].

  Raises:
    ValueError: a setting is wrong, or the stream is too short.
    UnknownId: (of the iterator) the tokenizer has no such token.
  """
  part, parts = share
  if batch_size % parts:
    raise ValueError(
        f'{batch_size} sequences at once must be a multiple of the {parts}'
        ' processes that share them'
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
  # Draws belong to places in the whole run, so that parts are taken after them.
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
        f' {sequence_length + 1} tokens, which are evaluated at once, got'
        f' {len(windows)}: hold out more, or lower config.microbatch_per_device'
    )
  else:  # the same batches for every part
    dataset = dataset[: len(windows) // batch_size * batch_size]
  return dataset.random_map(example)


def tokens_per_second(
    iterator: grain.DatasetIterator, seconds: float = 0.5
) -> float:
  """Returns how many tokens a second `batches` yields, and closes the iterator.

  Args:
    iterator: one made for this, since what it yields is lost.
    seconds: how long to measure; one batch is read in any case.
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
  """Returns the mean prefix of examples; documents are measured on a sample.

  Args:
    tokens: that are trained on.
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
  """Returns `config.model` with an id for every token, and for [MASK].

  A vocabulary without room for them becomes the tokenizer's, and [MASK] after
  it; any other stays as it is.

  Raises:
    ValueError: there is room, but mask_id is the id of a token, or of none.
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
  policies.make(prefix, sequence_length)  # refuses what is wrong in it
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
  """Random access to int [L + 1]; the last token of one begins the next."""

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
          f'the ids of config.data must lie in [0, {self._num_ids}), as those of'
          f' its tokenizer do, got {window[unknown[0]]} at token'
          f' {start + unknown[0]:,}: prepare the data again'
      )
    return window
