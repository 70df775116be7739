"""Scores of prompts for several prefix lengths, and the file for them."""

from collections.abc import Callable, Sequence
import os
import time
from typing import NamedTuple

import numpy as np
import tqdm

from jrt_jax import atomic_write
from jrt_jax import foreign

_MOST_PROMPTS = 10**6
_LARGEST_ID = 2**24
_LONGEST = 2**22

# A function from prompts, int [b] of their indices, and prefix lengths, int32
# [b], to the score of each prompt, float [b].
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Table(NamedTuple):
  """N prompts, each read with K prefixes."""

  prompts: list[np.ndarray]  # int [n] each
  fractions: np.ndarray  # [K], ascending
  scores: np.ndarray  # [N, K]: recall, or a log-probability of the answer
  seconds: np.ndarray  # [K], the median time of a prompt; NaN: not measured
  sequence_length: int  # L of the model that reads them

  def rewards(self, cost: float) -> np.ndarray:
    """Scores minus the cost of prefixes, [N, K]; a full prefix costs `cost`."""
    return self.scores - cost * self.fractions


def collect(
    prompts: Sequence[np.ndarray],
    fractions: Sequence[float],
    score: Score,
    *,
    batch_size: int = 1,
    sequence_length: int | None = None,
) -> Table:
  """Tries every fraction on every prompt.

  The first batch is not timed, because it compiles. Times are medians, because
  a later batch may compile as well.

  Args:
    prompts: int [n] each.
    fractions: fractions of a prompt, ascending.
    batch_size: how many prompts are scored at once.
    sequence_length: L of the model; None: the length of the longest prompt.
  """
  lengths = np.array([len(tokens) for tokens in prompts])
  rows = np.arange(len(prompts))
  batches = np.split(rows, rows[batch_size::batch_size])
  scores = np.zeros((len(prompts), len(fractions)))
  seconds = np.zeros((len(batches), len(fractions)))
  with tqdm.tqdm(
      total=scores.size, desc='trials', delay=1, disable=None
  ) as bar:
    for i, rows in enumerate(batches):
      for j, fraction in enumerate(fractions):
        wanted = np.round(fraction * lengths[rows]).astype(np.int32)
        start = time.perf_counter()
        scores[rows, j] = score(rows, wanted)
        # A smaller last batch is padded, so that it takes as long as others.
        seconds[i, j] = (time.perf_counter() - start) / batch_size
        bar.update(len(rows))
  timed = seconds[1:] if len(batches) > 1 else np.nan * seconds
  return Table(
      list(prompts),
      np.array(fractions),
      scores,
      np.median(timed, axis=0),
      sequence_length or int(lengths.max()),
  )


def load(path: str) -> tuple[Table, str]:
  """Returns the table of an .npz, and the fingerprint of its tokenizer.

  Args:
    path: a file with the arrays that `jrt_jax.prefix.learn` describes.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is not an .npz file, or an array is missing or wrong.
  """
  file = foreign.Npz(path)
  tokens = file.array('tokens', (None, None), 'iu')
  fractions = file.array('fractions', (None,))
  (N, n), K = tokens.shape, len(fractions)
  scores = file.array('scores', (N, K))
  lengths = file.array('lengths', (N,), 'iu', default=np.full(N, n))
  seconds = file.array('seconds', (K,), default=np.full(K, np.nan))
  L = file.array('sequence_length', (), 'iu', default=np.array(n))
  if not 2 <= N <= _MOST_PROMPTS:
    raise ValueError(
        f'{path} must hold 2 to {_MOST_PROMPTS:,} prompts, got {N:,}'
    )
  if not np.isfinite(scores).all():
    raise ValueError(f'{path}: scores must be finite')
  check_fractions(f'{path}: fractions', fractions)
  for name, x, low, high in (
      ('lengths', lengths, 1, n),
      ('tokens', tokens, 0, _LARGEST_ID),
      ('sequence_length', L, 1, _LONGEST),
  ):
    if ((x < low) | (x > high)).any():
      raise ValueError(
          f'{path}: {name} must be integers within [{low}, {high}], got'
          f' {x.min()} to {x.max()}'
      )
  prompts = [row[:end] for row, end in zip(tokens, lengths)]
  tokenizer = file.text('tokenizer') if 'tokenizer' in file.shapes else ''
  return Table(prompts, fractions, scores, seconds, int(L)), tokenizer


def save(path: str | os.PathLike, table: Table, tokenizer: str) -> None:
  """Writes a file for `load`; `tokenizer` is a fingerprint."""
  lengths = np.array([len(tokens) for tokens in table.prompts])
  tokens = np.zeros((len(lengths), lengths.max()), np.int32)
  for row, prompt in zip(tokens, table.prompts):
    row[: len(prompt)] = prompt
  with atomic_write.replacing(path) as new, open(new, 'wb') as file:
    np.savez(
        file,
        tokens=tokens,
        lengths=lengths,
        fractions=table.fractions,
        scores=table.scores,
        seconds=table.seconds,
        sequence_length=table.sequence_length,
        tokenizer=tokenizer,
    )


def check_fractions(argument: str, fractions: np.ndarray) -> None:
  """Raises ValueError unless the fractions [K] rise within [0, 1]."""
  inside = (fractions >= 0) & (fractions <= 1)
  if len(fractions) < 2 or not (
      inside.all() and (np.diff(fractions) > 0).all()
  ):
    raise ValueError(
        f'{argument} must be at least two that rise within [0, 1], got'
        f' {fractions.tolist()}'
    )
