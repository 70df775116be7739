"""How a policy is learned: K fractions of the prompt, a reward for each.

Every fraction can be tried on every prompt, so that rewards are a table
[N, K]. Weights are those of a softmax policy over features x [N, S + 1].

Source: the student report, future work; how rewards are made is ours.
"""

from collections.abc import Callable, Sequence
import time
from typing import NamedTuple
import zipfile

import numpy as np

Gradient = Callable[[np.ndarray], np.ndarray]  # of logits, by probabilities


class Table(NamedTuple):
  """N prompts, each read with K prefixes."""

  prompts: list[np.ndarray]  # int [n] each
  fractions: np.ndarray  # [K], ascending
  scores: np.ndarray  # [N, K]: recall, or the answer's log-probability
  seconds: np.ndarray  # [K], the mean time of a prompt; NaN: not measured

  def rewards(self, cost: float) -> np.ndarray:
    """Scores less what prefixes cost, [N, K]; `cost` is that of a full one."""
    return self.scores - cost * self.fractions


def play(
    prompts: Sequence[np.ndarray],
    fractions: Sequence[float],
    score: Callable[[np.ndarray, int], float],
) -> Table:
  """Tries every fraction on every prompt.

  Args:
    prompts: int [n] each.
    fractions: of a prompt, ascending.
    score: maps tokens and a prefix length to how well the prompt is answered.
  """
  scores = np.zeros((len(prompts), len(fractions)))
  seconds = np.zeros_like(scores)
  for i, tokens in enumerate(prompts):
    for j, fraction in enumerate(fractions):
      start = time.perf_counter()
      scores[i, j] = score(tokens, round(fraction * len(tokens)))
      seconds[i, j] = time.perf_counter() - start
  return Table(list(prompts), np.array(fractions), scores, seconds.mean(axis=0))


def load(path: str) -> tuple[Table, str]:
  """Returns the table of an .npz, and the fingerprint of its tokenizer.

  Args:
    path: of a file with the arrays that `jrt_jax.prefix.learn` describes.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no .npz, or an array is missing or impossible.
  """
  if not zipfile.is_zipfile(path):
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
  arrays.setdefault('lengths', np.full(N, n))
  arrays.setdefault('seconds', np.full(K, np.nan))
  shapes = {'scores': (N, K), 'lengths': (N,), 'seconds': (K,)}
  for name, shape in shapes.items():
    if arrays[name].shape != shape:
      raise ValueError(
          f'--table={path}: {name} must have shape {shape}, got'
          f' {arrays[name].shape}'
      )
  _check_values(path, arrays, n)
  prompts = [row[:end] for row, end in zip(tokens, arrays['lengths'])]
  table = Table(prompts, fractions, arrays['scores'], arrays['seconds'])
  return table, str(arrays.get('tokenizer', ''))


def save(path: str, table: Table, tokenizer: str) -> None:
  """Writes what `load` reads; `tokenizer` is a fingerprint."""
  lengths = np.array([len(tokens) for tokens in table.prompts])
  tokens = np.zeros((len(lengths), lengths.max()), np.int32)
  for row, prompt in zip(tokens, table.prompts):
    row[: len(prompt)] = prompt
  np.savez(
      path,
      tokens=tokens,
      lengths=lengths,
      fractions=table.fractions,
      scores=table.scores,
      seconds=table.seconds,
      tokenizer=tokenizer,
  )


def supervised(x: np.ndarray, rewards: np.ndarray) -> np.ndarray:
  """Learns to imitate the oracle: the shortest of the best prefixes.

  Returns:
    weights [S + 1, K]; so do the others.
  """
  wanted = np.eye(rewards.shape[1])[rewards.argmax(axis=1)]
  return _ascend(x, rewards.shape[1], lambda p: wanted - p)


def full_feedback(x: np.ndarray, rewards: np.ndarray) -> np.ndarray:
  """Ascends the expected reward itself, of which all terms are known."""

  def gradient(p):
    return p * (rewards - (p * rewards).sum(axis=1, keepdims=True))

  return _ascend(x, rewards.shape[1], gradient)


def reinforce(
    x: np.ndarray,
    rewards: np.ndarray,
    rng: np.random.Generator,
    *,
    rate: float = 0.1,
    batch: int = 32,
    entropy_bonus: float = 0.01,
) -> np.ndarray:
  """Sees the reward of one drawn fraction at a time; for comparison.

  It tries as many fractions on prompts as the table has entries.

  Args:
    x, rewards: as in `full_feedback`.
    rng: of prompts and fractions.
    rate: of the ascent.
    batch: prompts in a step; the baseline is a moving mean over steps.
    entropy_bonus: keeps it trying.

  Source: Williams 1992, Simple statistical gradient-following algorithms.
  """
  N, K = rewards.shape
  weights, baseline = np.zeros((x.shape[1], K)), rewards.mean()
  for _ in range(N * K // batch):
    rows = rng.integers(N, size=batch)
    p = _softmax(x[rows] @ weights)
    drawn = (p.cumsum(axis=1) < rng.random((batch, 1))).sum(axis=1)
    drawn = np.minimum(drawn, K - 1)  # cumulated, p may end below 1
    reward = rewards[rows, drawn]
    surprise = -np.log(p)
    mean_surprise = (p * surprise).sum(axis=1, keepdims=True)
    gradient = (reward - baseline)[:, None] * (np.eye(K)[drawn] - p)
    gradient += entropy_bonus * p * (surprise - mean_surprise)
    weights += rate * x[rows].T @ gradient / batch
    baseline += 0.05 * (reward.mean() - baseline)
  return weights


def _check_values(path, arrays, n):
  lengths, fractions = arrays['lengths'], arrays['fractions']
  if not np.isfinite(arrays['scores']).all():
    raise ValueError(f'--table={path}: scores must be finite')
  inside = (fractions >= 0) & (fractions <= 1)
  if not (inside.all() and (np.diff(fractions) > 0).all()):
    raise ValueError(
        f'--table={path}: fractions must rise within [0, 1], got'
        f' {fractions.tolist()}'
    )
  inside = (lengths >= 1) & (lengths <= n)
  if lengths.dtype.kind not in 'iu' or not inside.all():
    raise ValueError(
        f'--table={path}: lengths must be integers within [1, {n}], got'
        f' {lengths.dtype} from {lengths.min()} to {lengths.max()}'
    )


def _ascend(x: np.ndarray, num_actions: int, gradient: Gradient) -> np.ndarray:
  weights = np.zeros((x.shape[1], num_actions))
  for _ in range(1000):
    weights += 2.0 * x.T @ gradient(_softmax(x @ weights)) / len(x)
  return weights


def _softmax(logits):
  e = np.exp(logits - logits.max(axis=1, keepdims=True))
  return e / e.sum(axis=1, keepdims=True)
