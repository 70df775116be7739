"""PREFIX_POLICIES: how many tokens of an example are prefix, a line for each.

Everything about a policy is in its `Policy`.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jrt_jax.prefix.entropy import ENTROPY
from jrt_jax.prefix.learned.policy import LEARNED
from jrt_jax.prefix.policy import Example
from jrt_jax.prefix.policy import Policy

# The model is causal.
NONE = Policy(lambda example: 0, settings=(), capacity=lambda *_: 0, fills=True)

# The model is an encoder.
FULL = Policy(
    lambda example: len(example.tokens),
    settings=(),
    capacity=lambda prefix, sequence_length: sequence_length,
    fills=True,
)

# As many tokens as the capacity allows. Arora et al. 2024 (JRT-RNN),
# https://arxiv.org/abs/2407.05483, train with 1024 of 2048.
FIXED = Policy(lambda example: example.room, fills=True)

# Uniform over 0, …, capacity, both included: a model that is trained so has seen
# every length that another policy gives. The student report, dynamic prefix
# lengths.
UNIFORM = Policy(
    lambda example: int(example.rng.integers(example.room, endpoint=True)),
    mean=lambda prefix, capacity, sequence_length: capacity / 2,
)

PREFIX_POLICIES = {
    'none': NONE,
    'full': FULL,
    'fixed': FIXED,
    'uniform': UNIFORM,
    'entropy': ENTROPY,
    'learned': LEARNED,
}


def fitted_names() -> list[str]:
  """Returns the names of policies that must be fitted to data."""
  return [name for name, policy in PREFIX_POLICIES.items() if policy.fit]


def make(prefix: Mapping, sequence_length: int) -> Callable[..., int]:
  """Returns a function from `(tokens, rng=)` to a prefix length.

  Args:
    prefix: `config.prefix`, fitted if the policy needs it.
    sequence_length: L, the tokens of a sequence.

  Raises:
    ValueError: a setting is wrong, or the policy is not fitted.
  """
  name, policy = prefix['name'], PREFIX_POLICIES[prefix['name']]
  capacity = policy.capacity(prefix, sequence_length)
  if policy.fit and 'fitted' not in prefix:
    others = ', '.join(sorted({*PREFIX_POLICIES} - {*fitted_names()}))
    raise ValueError(
        f'config.prefix.name must be one of {others} here, got {name!r}, which'
        ' must be fitted to training data'
    )
  return lambda tokens, rng: policy.length(
      Example(tokens, capacity, prefix, rng)
  )


def of_document(
    tokens: np.ndarray, prefix: Mapping, *, rng: np.random.Generator
) -> int:
  """Returns the prefix length of a text that is a whole sequence in training.

  Args:
    tokens: int [n], the text; a fraction of it is the capacity of its prefix.
    prefix: `config.prefix`, fitted if the policy needs it.
    rng: for policies that draw lengths.
  """
  return make(prefix, len(tokens))(tokens, rng=rng) if len(tokens) else 0


def lengths(
    rows: Sequence[np.ndarray],
    prefix: Mapping,
    sequence_length: int,
    rng: np.random.Generator,
) -> np.ndarray:
  """Returns the prefix lengths of a batch, int32 [B].

  Args:
    rows: int [n] each, the tokens of a row without padding; n may differ.
    prefix, sequence_length: see `make`.
    rng: for policies that draw lengths.
  """
  policy = make(prefix, sequence_length)
  return np.array([policy(row, rng=rng) for row in rows], np.int32)


def prefix_capacity(prefix: Mapping, sequence_length: int) -> int:
  """Returns P, the static capacity of a prefix in tokens.

  All prefixes of a policy may be shorter: see `longest_prefix`.

  Args:
    prefix: `config.prefix`: the name of the policy, its capacity (a fraction),
      and its settings.
    sequence_length: L, the tokens of a sequence.

  Raises:
    ValueError: a setting of the policy is invalid.
  """
  return PREFIX_POLICIES[prefix['name']].capacity(prefix, sequence_length)


def longest_prefix(prefix: Mapping, sequence_length: int) -> int:
  """Returns the length of the longest prefix that occurs in training.

  Args:
    prefix: `config.prefix`, fitted if the policy is 'learned'.
    sequence_length: L, the tokens of a sequence.

  Raises:
    ValueError: see `prefix_capacity`.
  """
  policy = PREFIX_POLICIES[prefix['name']]
  capacity = policy.capacity(prefix, sequence_length)
  return policy.longest(prefix, capacity, sequence_length)


def of_prompt(tokens: np.ndarray, prefix: Mapping, sequence_length: int) -> int:
  """Returns how many tokens of a prompt are prefix in generation.

  Policies that look at tokens treat the prompt like a window of training. (Few
  tokens have less entropy than many, and so get shorter prefixes, unless
  `config.prefix.window` measures all texts in windows of one width.) Other
  policies use the full capacity, including 'uniform', which was trained with
  every length. No prefix is longer than `longest_prefix`.

  Args:
    tokens: int [n], the prompt.
    prefix: `config.prefix`, fitted if the policy needs it.
    sequence_length: L, the tokens of a sequence in training.
  """
  longest = min(longest_prefix(prefix, sequence_length), len(tokens))
  if not PREFIX_POLICIES[prefix['name']].reads_prompt:
    return longest
  wanted = make(prefix, sequence_length)(tokens, rng=None)  # these do not draw
  return min(wanted, longest)


def mean_prefix(prefix: Mapping, sequence_length: int) -> float:
  """Returns the mean prefix length of the policy in training."""
  policy = PREFIX_POLICIES[prefix['name']]
  capacity = policy.capacity(prefix, sequence_length)
  return policy.mean(prefix, capacity, sequence_length)
