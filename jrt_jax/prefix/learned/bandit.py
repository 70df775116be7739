"""Ways to learn a policy that chooses among K fractions of a prompt.

Every fraction is tried on every prompt, so that rewards are a table [N, K]. The
policy is a softmax over fractions, linear in features x [N, S + 1].

Source: the student report, future work; the definition of rewards is ours.
"""

from collections.abc import Callable

import numpy as np

Gradient = Callable[[np.ndarray], np.ndarray]  # probabilities -> d/d logits

# Of REINFORCE: the learning rate, the prompts of a step, and the weight of the
# entropy, which keeps it exploring.
_RATE, _BATCH, _ENTROPY_BONUS = 0.1, 32, 0.01


def supervised(x: np.ndarray, rewards: np.ndarray) -> np.ndarray:
  """Learns to imitate the oracle: the shortest of the best prefixes.

  Returns:
    weights [S + 1, K], like the other functions here.
  """
  wanted = np.eye(rewards.shape[1])[rewards.argmax(axis=1)]
  return _ascend(x, rewards.shape[1], lambda p: wanted - p)


def full_feedback(x: np.ndarray, rewards: np.ndarray) -> np.ndarray:
  """Maximises the expected reward, whose terms are all known."""

  def gradient(p):
    return p * (rewards - (p * rewards).sum(axis=1, keepdims=True))

  return _ascend(x, rewards.shape[1], gradient)


def reinforce(
    x: np.ndarray, rewards: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """REINFORCE, for comparison: sees the reward of one fraction at a time.

  It tries as many pairs of prompt and fraction as the table has entries. The
  baseline is a moving mean over steps.

  Source: Williams 1992, Simple statistical gradient-following algorithms.
  """
  N, K = rewards.shape
  weights, baseline = np.zeros((x.shape[1], K)), rewards.mean()
  for _ in range(N * K // _BATCH):
    rows = rng.integers(N, size=_BATCH)
    p = _softmax(x[rows] @ weights)
    drawn = (p.cumsum(axis=1) < rng.random((_BATCH, 1))).sum(axis=1)
    drawn = np.minimum(drawn, K - 1)  # the cumulated p may end below 1
    reward = rewards[rows, drawn]
    surprise = -np.log(p)
    mean_surprise = (p * surprise).sum(axis=1, keepdims=True)
    gradient = (reward - baseline)[:, None] * (np.eye(K)[drawn] - p)
    gradient += _ENTROPY_BONUS * p * (surprise - mean_surprise)
    weights += _RATE * x[rows].T @ gradient / _BATCH
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
