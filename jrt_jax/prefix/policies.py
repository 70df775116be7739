"""How many tokens of an example its prefix has: one function per policy.

A policy maps `(tokens, *, capacity, rng)` to a prefix length within
[0, len(tokens)]:
  tokens: int [n], the example's tokens before any is masked.
  capacity: int, the tokens that the model's prefix has room for.
  rng: np.random.Generator, the example's own.
"""

from collections.abc import Mapping

import numpy as np


def none(tokens: np.ndarray, *, capacity: int, rng: np.random.Generator) -> int:
  """No prefix: the model is causal."""
  del tokens, capacity, rng
  return 0


def full(tokens: np.ndarray, *, capacity: int, rng: np.random.Generator) -> int:
  """All tokens: the model is an encoder."""
  del capacity, rng
  return len(tokens)


def fixed(
    tokens: np.ndarray, *, capacity: int, rng: np.random.Generator
) -> int:
  """As many as there is room for.

  Source: Arora et al. 2024 (JRT-RNN), https://arxiv.org/abs/2407.05483, which
  trains with 1024 of 2048 tokens.
  """
  del rng
  return min(capacity, len(tokens))


def uniform(
    tokens: np.ndarray, *, capacity: int, rng: np.random.Generator
) -> int:
  """Uniform over 0, …, capacity, both included.

  Source: the student report, dynamic prefix lengths.
  """
  return int(rng.integers(min(capacity, len(tokens)), endpoint=True))


PREFIX_POLICIES = {
    'none': none,
    'full': full,
    'fixed': fixed,
    'uniform': uniform,
}


def prefix_capacity(prefix: Mapping, sequence_length: int) -> int:
  """Returns P, the static number of tokens that no prefix exceeds.

  Args:
    prefix: `config.prefix`: the policy's name, and capacity, a fraction.
    sequence_length: L, tokens that the model reads.

  Raises:
    ValueError: the name is unknown or the capacity is not a fraction.
  """
  name, capacity = prefix['name'], prefix['capacity']
  if name not in PREFIX_POLICIES:
    raise ValueError(
        'config.prefix.name must be one of'
        f' {", ".join(PREFIX_POLICIES)}, got {name!r}'
    )
  if not 0 <= capacity <= 1:
    raise ValueError(
        f'config.prefix.capacity must lie in [0, 1], got {capacity}: a prefix'
        ' cannot be longer than its sequence'
    )
  by_name = {'none': 0, 'full': sequence_length}
  return by_name.get(name, int(capacity * sequence_length))


def mean_prefix(prefix: Mapping, sequence_length: int) -> float:
  """Returns the mean length that the policy gives to prefixes of training."""
  capacity = prefix_capacity(prefix, sequence_length)
  return capacity / 2 if prefix['name'] == 'uniform' else capacity
