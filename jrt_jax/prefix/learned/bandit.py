"""How a policy is learned: K fractions of the prompt, a reward for each.

Every fraction can be tried on every prompt, so that rewards are a table
[N, K]. Weights are those of a softmax policy over features x [N, S + 1].

Source: the student report, future work; how rewards are made is ours.
"""

from collections.abc import Callable

import numpy as np

Gradient = Callable[[np.ndarray], np.ndarray]  # of logits, by probabilities


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


def _ascend(x: np.ndarray, num_actions: int, gradient: Gradient) -> np.ndarray:
  weights = np.zeros((x.shape[1], num_actions))
  for _ in range(1000):
    weights += 2.0 * x.T @ gradient(_softmax(x @ weights)) / len(x)
  return weights


def _softmax(logits):
  e = np.exp(logits - logits.max(axis=1, keepdims=True))
  return e / e.sum(axis=1, keepdims=True)
