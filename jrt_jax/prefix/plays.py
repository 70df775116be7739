"""How well prompts are answered after each of a few prefixes, and its file."""

from collections.abc import Callable, Sequence
import os
import pathlib
import time
from typing import NamedTuple
import zipfile

import numpy as np
import tqdm

# Maps prompts, int [b] of their indices, and prefix lengths, int32 [b], to how
# well each prompt is answered, float [b].
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Table(NamedTuple):
  """N prompts, each read with K prefixes."""

  prompts: list[np.ndarray]  # int [n] each
  fractions: np.ndarray  # [K], ascending
  scores: np.ndarray  # [N, K]: recall, or the answer's log-probability
  seconds: np.ndarray  # [K], the median time of a prompt; NaN: not measured
  sequence_length: int  # L of the model that reads them

  def rewards(self, cost: float) -> np.ndarray:
    """Scores less what prefixes cost, [N, K]; `cost` is that of a full one."""
    return self.scores - cost * self.fractions


def play(
    prompts: Sequence[np.ndarray],
    fractions: Sequence[float],
    score: Score,
    *,
    batch_size: int = 1,
    sequence_length: int | None = None,
) -> Table:
  """Tries every fraction on every prompt.

  The first batch is not timed, for programs are compiled for it, and times are
  medians, for some may be compiled later.

  Args:
    prompts: int [n] each.
    fractions: of a prompt, ascending.
    score: answers prompts.
    batch_size: prompts that are answered at once.
    sequence_length: L of the model; None: that of the longest prompt.
  """
  lengths = np.array([len(tokens) for tokens in prompts])
  rows = np.arange(len(prompts))
  batches = np.split(rows, rows[batch_size::batch_size])
  scores = np.zeros((len(prompts), len(fractions)))
  seconds = np.zeros((len(batches), len(fractions)))
  with tqdm.tqdm(total=scores.size, desc='plays', delay=1, disable=None) as bar:
    for i, rows in enumerate(batches):
      for j, fraction in enumerate(fractions):
        wanted = np.round(fraction * lengths[rows]).astype(np.int32)
        start = time.perf_counter()
        scores[rows, j] = score(rows, wanted)
        # A last batch that is smaller is filled: it takes as long.
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
    path: of a file with the arrays that `jrt_jax.prefix.learn` describes.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no .npz, or an array is missing or impossible.
  """
  with open(path, 'rb') as file:
    is_zip = zipfile.is_zipfile(file)
  if not is_zip:
    raise ValueError(f'--table must be an .npz file, got {path!r}')
  with np.load(path) as file:
    arrays = {name: file[name] for name in file.files}
  if missing := {'tokens', 'fractions', 'scores'} - {*arrays}:
    raise ValueError(f'--table={path} must hold {", ".join(sorted(missing))}')
  tokens, fractions = arrays['tokens'], arrays['fractions']
  if tokens.ndim != 2 or fractions.ndim != 1:
    raise ValueError(
        f'--table={path}: tokens must have shape (N, n), got {tokens.shape};'
        f' fractions must have shape (K,), got {fractions.shape}'
    )
  (N, n), K = tokens.shape, len(fractions)
  arrays = {
      'lengths': np.full(N, n),
      'seconds': np.full(K, np.nan),
      'sequence_length': np.array(n),
  } | arrays
  _check(path, arrays, N, n, K)
  prompts = [row[:end] for row, end in zip(tokens, arrays['lengths'])]
  table = Table(
      prompts,
      fractions,
      arrays['scores'],
      arrays['seconds'],
      int(arrays['sequence_length']),
  )
  return table, str(arrays.get('tokenizer', ''))


def save(path: str | os.PathLike, table: Table, tokenizer: str) -> None:
  """Writes what `load` reads; `tokenizer` is a fingerprint."""
  lengths = np.array([len(tokens) for tokens in table.prompts])
  tokens = np.zeros((len(lengths), lengths.max()), np.int32)
  for row, prompt in zip(tokens, table.prompts):
    row[: len(prompt)] = prompt
  path = pathlib.Path(path)
  new = path.with_name(f'{path.name}.new')
  with open(new, 'wb') as file:
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
  os.replace(new, path)  # all of it or nothing


def check_fractions(argument: str, fractions: np.ndarray) -> None:
  """Raises ValueError unless [K] rises within [0, 1]."""
  inside = (fractions >= 0) & (fractions <= 1)
  if len(fractions) < 2 or not (
      inside.all() and (np.diff(fractions) > 0).all()
  ):
    raise ValueError(
        f'{argument} must be at least two that rise within [0, 1], got'
        f' {fractions.tolist()}'
    )


def _check(path, arrays, N, n, K):
  """Raises ValueError unless the arrays of a file fit together."""
  shapes = {
      'scores': (N, K),
      'lengths': (N,),
      'seconds': (K,),
      'sequence_length': (),
  }
  for name, shape in shapes.items():
    if arrays[name].shape != shape:
      raise ValueError(
          f'--table={path}: {name} must have shape {shape}, got'
          f' {arrays[name].shape}'
      )
  if N < 2:
    raise ValueError(f'--table={path} must hold at least 2 prompts, got {N}')
  if not np.isfinite(arrays['scores']).all():
    raise ValueError(f'--table={path}: scores must be finite')
  check_fractions(f'--table={path}: fractions', arrays['fractions'])
  lengths = arrays['lengths']
  inside = (lengths >= 1) & (lengths <= n)
  if lengths.dtype.kind not in 'iu' or not inside.all():
    raise ValueError(
        f'--table={path}: lengths must be integers within [1, {n}], got'
        f' {lengths.dtype} from {lengths.min()} to {lengths.max()}'
    )
