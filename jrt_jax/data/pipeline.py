"""From documents to batches: token streams, windows, examples."""

from collections.abc import Iterable, Mapping

import grain
import numpy as np

from jrt_jax.data import objectives
from jrt_jax.data import sources
from jrt_jax.data import tokenizers
from jrt_jax.prefix import policies

Tokenizer = tokenizers.Bytes | tokenizers.TokenizerJson


def token_streams(data: Mapping, tokenizer: Tokenizer) -> dict[str, np.ndarray]:
  """Returns the tokens of the splits 'train' and 'validation'.

  A stream is the ids of its documents, each document followed by eos_id:
  uint16 [n], or uint32 when the tokenizer is larger. A source without held-out
  documents gives the last `validation_fraction` of its tokens.

  Args:
    data: `config.data`.
    tokenizer: what `tokenizers.load` returned.

  Raises:
    ValueError: a setting is wrong, a file is broken, or there is no text.
    FileNotFoundError: a path names no file.
  """
  source, fraction = data['source'], data['validation_fraction']
  if source not in sources.SOURCES:
    raise ValueError(
        'config.data.source must be one of'
        f' {", ".join(sources.SOURCES)}, got {source!r}'
    )
  if not 0 < fraction < 1:
    raise ValueError(
        f'config.data.validation_fraction must lie in (0, 1), got {fraction}'
    )
  streams = {}
  for split, documents in sources.SOURCES[source](data).items():
    streams[split] = _tokenize(documents, tokenizer)
    if not streams[split].size:
      raise ValueError(f'config.data.source={source!r} has no {split} text')
  if 'validation' not in streams:
    tokens = streams['train']
    cut = len(tokens) - int(fraction * len(tokens))
    streams = {'train': tokens[:cut], 'validation': tokens[cut:]}
  return streams


def batches(
    tokens: np.ndarray,
    *,
    sequence_length: int,
    batch_size: int,
    objective: Mapping,
    prefix: Mapping,
    mask_id: int,
    seed: int,
    training: bool,
    num_threads: int = 4,
) -> grain.DatasetIterator:
  """Returns an iterator over batches of examples.

  Windows of L + 1 tokens start at every L-th token. Training shuffles them,
  anew in each epoch, and never ends; otherwise they come once, in order, and
  those that do not fill a batch are left out.

  Prefixes and masks depend on the seed and the example's place in the whole
  run only: not on threads, and not on how examples form batches. The iterator's
  `get_state()` is a JSON-able count of batches; after `set_state(state)` come
  exactly the batches that came after `get_state()`, found without reading
  what is before them.

  Args:
    tokens: int [n], a stream; it is not copied.
    sequence_length: L, tokens that the model reads in an example.
    batch_size: B, examples in a batch.
    objective: `config.objective`.
    prefix: `config.prefix`.
    mask_id: the id of [MASK].
    seed: of the order, the prefixes and the masks.
    training: whether to shuffle and to repeat.
    num_threads: that make batches ahead; 0 makes them when asked.

  Returns:
    An iterator over dicts of `tokens` and `targets` int32 [B, L],
    `supervision` int8 [B, L] and `prefix_len` int32 [B].

  Raises:
    ValueError: a setting is wrong, or the stream is too short.
  """
  objectives.check(objective, prefix)
  capacity = policies.prefix_capacity(prefix, sequence_length)
  policy = policies.PREFIX_POLICIES[prefix['name']]
  make_example = objectives.OBJECTIVES[objective['name']]

  def example(window, rng):
    prefix_len = policy(window[:-1], capacity=capacity, rng=rng)
    return make_example(
        window, prefix_len, objective=objective, mask_id=mask_id, rng=rng
    )

  if len(tokens) <= sequence_length:
    raise ValueError(
        f'config.sequence_length={sequence_length} needs more tokens than that'
        f' {"to train on" if training else "held out"}, got {len(tokens)}'
    )
  windows = _windows(tokens, sequence_length)
  dataset = grain.MapDataset.source(windows).seed(seed)
  if training:
    dataset = dataset.shuffle().repeat()
  elif len(windows) < batch_size:
    raise ValueError(
        f'the held-out data must have at least {batch_size} windows of'
        f' {sequence_length + 1} tokens, which are evaluated at once, got'
        f' {len(windows)}: hold out more, or lower config.microbatch_per_device'
    )
  dataset = dataset.random_map(example).batch(batch_size, drop_remainder=True)
  # Grain's own default would hold 500 batches.
  options = grain.ReadOptions(
      num_threads=num_threads, prefetch_buffer_size=2 * num_threads
  )
  return iter(dataset.to_iter_dataset(options))


def check_vocabulary(
    tokenizer: Tokenizer, *, model: Mapping, objective: Mapping
):
  """Raises ValueError unless `config.model` has an id for every token."""
  size = tokenizer.size
  vocab_size, mask_id = model['vocab_size'], model['mask_id']
  if size > vocab_size:
    raise ValueError(
        f"config.model.vocab_size must hold the tokenizer's {size} ids, got"
        f' {vocab_size}'
    )
  if objective['name'] == 'jrt' and not size <= mask_id < vocab_size:
    raise ValueError(
        f"config.model.mask_id must lie beyond the tokenizer's {size} ids and"
        f' below {vocab_size=}, got {mask_id}'
    )


def _tokenize(
    documents: Iterable[tokenizers.Document], tokenizer: Tokenizer
) -> np.ndarray:
  dtype = np.uint16 if tokenizer.size <= 2**16 else np.uint32
  stream = bytearray()  # grows in place: joining arrays would hold two copies
  for ids in tokenizer.stream(filter(None, documents)):
    stream += ids.astype(dtype).tobytes()
  return np.frombuffer(stream, dtype)


def _windows(tokens: np.ndarray, sequence_length: int) -> np.ndarray:
  """Returns [N, L + 1], a view; the last token of a row begins the next."""
  windows = np.lib.stride_tricks.sliding_window_view(
      tokens, sequence_length + 1
  )
  return windows[::sequence_length]
