"""The learned policy: it chooses the prefix from signals of a prompt.

Source: the student report, future work (adaptive RL-based prefix lengths).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jrt_jax.prefix import policy
from jrt_jax.prefix import signals
from jrt_jax.schema import ListOf
from jrt_jax.schema import Real

NUM_FEATURES = len(signals.SIGNALS) + 1  # S


class Choice(NamedTuple):
  """A softmax policy over K fractions, linear in S features."""

  fractions: np.ndarray  # [K], ascending
  mean: np.ndarray  # [S], the mean of the features of training prompts
  scale: np.ndarray  # [S], their standard deviation
  weights: np.ndarray  # [S + 1, K], for scaled features and a constant 1

  def actions(self, x: np.ndarray) -> np.ndarray:
    """Maps features [..., S] to the preferred index [...]."""
    return (scaled(x, self.mean, self.scale) @ self.weights).argmax(axis=-1)


def features(tokens: np.ndarray) -> np.ndarray:
  """All signals of int [n], and the logarithm of n: float [S]."""
  values = [signal(tokens) for signal in signals.SIGNALS.values()]
  return np.array([*values, np.log2(max(len(tokens), 1))])


def scaled(x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
  """Maps features [..., S] to [..., S + 1]; the last is 1."""
  x = (x - mean) / scale
  return np.concatenate([x, np.ones_like(x[..., :1])], axis=-1)


def to_json(choice: Choice) -> dict[str, Any]:
  """Returns the JSON that `fraction` reads."""
  return {name: array.tolist() for name, array in choice._asdict().items()}


def fraction(tokens: np.ndarray, fitted: Mapping[str, Any]) -> float:
  """Returns the preferred fraction of int [n]."""
  choice = Choice(*(np.array(fitted[name]) for name in Choice._fields))
  return float(choice.fractions[choice.actions(features(tokens))])


def _length(example):
  """The preferred fraction, as far as there is room."""
  tokens = example.tokens
  wanted = fraction(tokens, example.prefix['fitted'])
  return min(round(wanted * len(tokens)), example.room)


def _longest(prefix, capacity, sequence_length):
  largest = max(prefix['fitted']['fractions'])
  return min(round(largest * sequence_length), capacity)


def _mean(prefix, capacity, sequence_length):
  return min(prefix['fitted']['mean_fraction'] * sequence_length, capacity)


def _fields():
  number, share, S = Real(-(10**9), 10**9), Real(0, 1), NUM_FEATURES
  needed = {
      'mean_fraction': share,
      'fractions': ListOf(share, 1, 1000),
      'mean': ListOf(number, S, S),
      'scale': ListOf(Real(1e-9, 10**9), S, S),
      'weights': ListOf(ListOf(number, 1, 1000), S + 1, S + 1),
  }
  return needed, {}


LEARNED = policy.Policy(
    _length,
    settings=('capacity', 'file'),
    longest=_longest,
    mean=_mean,
    reads_prompt=True,
    fit=policy.Fit(
        _fields, rising='fractions', written_by='jrt_jax.prefix.learn'
    ),
)
