"""From a split to batches: windows or samples → examples → batches (Grain)."""

import time

import grain
import numpy as np

from jrt_jax.data import examples
from jrt_jax.data import mixture
from jrt_jax.data import splits
from jrt_jax.data import windows as windows_lib
from jrt_jax.data.synthetic import split as split_lib

# More samples than any run takes, which is steps x batch_size.
_ENDLESS = 2**48


def batches(
    split: splits.Split,
    recipe: examples.Recipe,
    *,
    batch_size: int,
    seed: int,
    training: bool,
    num_threads: int = 4,
    share: tuple[int, int] = (0, 1),
) -> grain.DatasetIterator:
  """Returns an iterator over batches of examples, or over a part of each batch.

  Windows of L + 1 tokens start at every L-th token. Training shuffles them anew
  in each epoch and never ends; of a mixture it reads each part by its share,
  evenly spread. Evaluation reads them once, in order, and leaves
  out those that do not fill a batch. Synthetic tasks never end.

  Prefixes and masks depend only on the seed and on the place of the example in
  the whole run, not on threads, batches or parts. The iterator's `get_state()`
  is a JSON value that counts batches. After `set_state(state)` the iterator
  yields exactly the batches that came after `get_state()`, without reading the
  earlier ones, also with another number of parts.

  Args:
    split: a text or a synthetic task; it is not copied.
    recipe: what all examples share.
    batch_size: B, examples in a batch, over all parts.
    seed: the seed of the order, the prefixes and the masks.
    training: whether to shuffle, to repeat windows, and to show documents
      twice.
    num_threads: number of threads that prepare batches in advance; 0: none.
    share: (part, parts): the iterator yields rows part * B / parts to
      (part + 1) * B / parts of each batch.

  Returns:
    An iterator over the dicts of `examples.py`, stacked: `tokens` is int32
    [B, L], where B is the number of rows of the part.

  Raises:
    ValueError: a setting is wrong, or the stream is too short.
    windows.UnknownId: the stream has an id that the tokenizer does not have; the
      iterator raises this.
  """
  part, parts = share
  if batch_size % parts:
    raise ValueError(
        f'{batch_size=} must be a multiple of the {parts} processes that'
        ' divide it'
    )
  if isinstance(split, split_lib.Split):
    dataset = _of_samples(split, recipe, batch_size, seed)
  else:
    dataset = _of_windows(split, recipe, batch_size, seed, training)
  # Parts are taken last, since draws depend on the place in the whole run.
  dataset = dataset.batch(batch_size // parts, drop_remainder=True)
  dataset = dataset[part::parts]
  # Grain's own default would hold 500 batches.
  options = grain.ReadOptions(
      num_threads=num_threads, prefetch_buffer_size=2 * num_threads
  )
  return iter(dataset.to_iter_dataset(options))


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


def _of_samples(split, recipe, batch_size, seed):
  """The examples of a synthetic task, in the order of a run."""
  examples.check_of_task(
      split.name,
      prefix=recipe.prefix,
      packing=recipe.packing,
      repeat=recipe.repeat,
  )
  recipe.check()
  split.check_length(recipe.sequence_length)

  def example(index, rng):
    sample = split.draw(index, rng, batch_size=batch_size)
    return examples.of_sample(sample, recipe, rng)

  return grain.MapDataset.range(_ENDLESS).seed(seed).random_map(example)


def _of_windows(tokens, recipe, batch_size, seed, training):
  """The examples of a text, in the order of a run."""
  recipe.check()
  if isinstance(tokens, mixture.Mixture) and training:
    dataset = _mixed(tokens, recipe, seed)
  elif training:
    windows = _windows(tokens, recipe, 'to train on')
    dataset = _shuffled(windows, seed)
  else:  # the same batches for every part; each document is read once
    windows = _windows(tokens, recipe, 'held out')
    if len(windows) < batch_size:
      raise ValueError(
          f'the held-out data must have at least {batch_size} windows of'
          f' {recipe.sequence_length + 1} tokens, since so many are evaluated'
          f' at once, got {len(windows)}: hold out more data, or lower'
          ' config.microbatch_per_device'
      )
    dataset = grain.MapDataset.source(windows).seed(seed)
    dataset = dataset[: len(windows) // batch_size * batch_size]
    recipe = recipe._replace(repeat=0.0)
  return dataset.random_map(
      lambda window, rng: examples.of_window(window, recipe, rng)
  )


def _windows(tokens, recipe, what):
  L = recipe.sequence_length
  windows = windows_lib.Windows(tokens, L, recipe.num_ids)
  if not len(windows):
    raise ValueError(
        f'config.sequence_length={L} needs more tokens than that {what}, got'
        f' {len(tokens)}'
    )
  return windows


def _shuffled(windows, seed):
  return grain.MapDataset.source(windows).seed(seed).shuffle().repeat()


def _mixed(mixed, recipe, seed):
  """The windows of a mixture; which one is next depends on the index only."""
  datasets = []
  for i, part in enumerate(mixed.parts):
    windows = _windows(part.tokens, recipe, f'of {part.name} to train on')
    # Parts of one length must not be shuffled alike.
    own_seed = np.random.SeedSequence((seed, i)).generate_state(1)[0]
    datasets.append(_shuffled(windows, int(own_seed)))
  shares = [part.share for part in mixed.parts]
  return grain.MapDataset.mix(datasets, shares).seed(seed)
