"""Tokenizes batches of text in several processes, in the order of the text."""

from collections.abc import Iterable, Iterator
import collections
import concurrent.futures
import concurrent.futures.process
import dataclasses
import functools
import hashlib
import multiprocessing
import os
import signal
import threading

import numpy as np

from jrt_jax.data import manifest
from jrt_jax.data import sources
from jrt_jax.data import streams
from jrt_jax.data import text_batches
from jrt_jax.data import tokenizers


@dataclasses.dataclass
class Tokens:
  """The tokens of n units of text.

  Attributes:
    ids: int, the ids of all units, eos after each; none for empty units.
    lengths: int64 [n], number of tokens of each unit.
    held_out: bool [n], whether a unit is validation data.
  """

  ids: np.ndarray
  lengths: np.ndarray
  held_out: np.ndarray

  def __getitem__(self, index: slice) -> 'Tokens':
    """Returns the tokens of a slice of the units."""
    ends = np.cumsum(self.lengths)
    start, stop, _ = index.indices(len(ends))
    first = int(ends[start - 1]) if start else 0
    last = int(ends[stop - 1]) if stop else 0
    return Tokens(
        self.ids[first:last], self.lengths[index], self.held_out[index]
    )


def tokenize_all(
    batches: Iterable[text_batches.Batch],
    tokenizer: str,
    settings: manifest.Settings,
    workers: int,
) -> Iterator[tuple[text_batches.Batch, Tokens]]:
  """Yields batches and their tokens, in order.

  Args:
    batches: batches of text; only a few are read in advance.
    tokenizer: 'bytes', or the path of a tokenizer.json.
    settings: settings of the preparation.
    workers: number of processes; they end when this process ends.

  Raises:
    ValueError: a line has no text.
    OSError: a worker was killed.
  """
  pool = concurrent.futures.ProcessPoolExecutor(
      workers,
      mp_context=multiprocessing.get_context('spawn'),  # no copy of threads
      initializer=_start_worker,
  )
  pending = collections.deque()
  try:
    for batch in batches:
      future = pool.submit(tokenize, batch, tokenizer, settings)
      pending.append((batch, future))
      if len(pending) > 2 * workers + 2:
        batch, future = pending.popleft()
        yield batch, future.result()
    for batch, future in pending:
      yield batch, future.result()
  except concurrent.futures.process.BrokenProcessPool as error:
    raise OSError(
        'a worker was killed, probably because memory ran out: the same command'
        ' continues; fewer --processes need less memory'
    ) from error
  finally:
    pool.shutdown(cancel_futures=True)


def tokenize(
    batch: text_batches.Batch, tokenizer: str, settings: manifest.Settings
) -> Tokens:
  """Returns the tokens of a batch."""
  tokenizer = _load(tokenizer)
  texts = [
      tokenizers.to_bytes(_text(batch, i, settings))
      for i in range(len(batch.units))
  ]
  ids = [streams.tokenize([text], tokenizer) for text in texts]
  return Tokens(
      np.concatenate(ids),
      np.array([len(x) for x in ids]),
      np.array([_hash(x) < settings.validation_fraction for x in texts]),
  )


def _text(batch, i, settings):
  unit = batch.units[i]
  if settings.format != 'jsonl':
    return unit
  if not unit.strip():
    return b''
  place = f'{batch.path}:{batch.first + i + 1}'
  return sources.record(unit, settings.text_key, place)


def _hash(text):
  """A hash of the text, in [0, 1)."""
  digest = hashlib.blake2b(text, digest_size=8).digest()
  return int.from_bytes(digest, 'little') / 2**64


_load = functools.cache(tokenizers.load)


def _start_worker():
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
  os.environ['TOKENIZERS_PARALLELISM'] = 'false'  # there are enough processes
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
  # Workers would survive a killed parent, since they keep each other's queues
  # open.
  multiprocessing.parent_process().join()
  os._exit(1)
