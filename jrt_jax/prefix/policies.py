"""How many tokens of an example its prefix has: one function per policy.

A policy maps an `Example` to a prefix length within [0, len(example.tokens)].
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jrt_jax.prefix import heuristic
from jrt_jax.prefix import signals
from jrt_jax.prefix.learned import policy as learned_lib

FITTED = ('entropy', 'learned')  # they need what was measured before


class Example(NamedTuple):
  """What a policy may look at."""

  tokens: np.ndarray  # int [n], before any is masked
  capacity: int  # tokens that the model's prefix has room for
  prefix: Mapping  # `config.prefix`, as `fitting.fitted` returns it
  rng: np.random.Generator  # the example's own

  @property
  def room(self) -> int:
    return min(self.capacity, len(self.tokens))


def none(example: Example) -> int:
  """No prefix: the model is causal."""
  del example
  return 0


def full(example: Example) -> int:
  """All tokens: the model is an encoder."""
  return len(example.tokens)


def fixed(example: Example) -> int:
  """As many as there is room for.

  Source: Arora et al. 2024 (JRT-RNN), https://arxiv.org/abs/2407.05483, which
  trains with 1024 of 2048 tokens.
  """
  return example.room


def uniform(example: Example) -> int:
  """Uniform over 0, …, capacity, both included.

  A model that is trained so has seen every length that another policy gives.

  Source: the student report, dynamic prefix lengths.
  """
  return int(example.rng.integers(example.room, endpoint=True))


def entropy(example: Example) -> int:
  """Longer for text whose signal passes thresholds: see `heuristic.py`.

  The signal is of all tokens of the window, those after the prefix included; a
  model that generates has only the prompt to look at: see `of_prompt`.
  """
  prefix = example.prefix
  u = heuristic.level(
      signals.measure(example.tokens, prefix),
      prefix['fitted']['thresholds'],
      reduce=prefix['reduce'],
  )
  return heuristic.length(u, example.room, prefix)


def learned(example: Example) -> int:
  """The fraction that a trained policy prefers: see `learned`."""
  tokens = example.tokens
  fraction = learned_lib.fraction(tokens, example.prefix['fitted'])
  return min(round(fraction * len(tokens)), example.room)


PREFIX_POLICIES = {
    'none': none,
    'full': full,
    'fixed': fixed,
    'uniform': uniform,
    'entropy': entropy,
    'learned': learned,
}


def make(prefix: Mapping, sequence_length: int) -> Callable[..., int]:
  """Returns a map `(tokens, rng=)` to a prefix length.

  Args:
    prefix: `config.prefix`, fitted where the policy needs it.
    sequence_length: L, tokens that the model reads.

  Raises:
    ValueError: a setting is wrong, or the policy is not fitted.
  """
  name, capacity = prefix['name'], prefix_capacity(prefix, sequence_length)
  if name in FITTED and 'fitted' not in prefix:
    others = ', '.join(sorted({*PREFIX_POLICIES} - {*FITTED}))
    raise ValueError(
        f'config.prefix.name must be one of {others} here, got {name!r}, which'
        ' needs what training has measured'
    )
  policy = PREFIX_POLICIES[name]
  return lambda tokens, rng: policy(Example(tokens, capacity, prefix, rng))


def of_document(
    tokens: np.ndarray, prefix: Mapping, *, rng: np.random.Generator
) -> int:
  """Returns the prefix length of a text that is its own sequence in training.

  Args:
    tokens: int [n], all of it; its prefix has room for a fraction of them.
    prefix: `config.prefix`, fitted where the policy needs it.
    rng: of policies that draw.
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
    rng: of policies that draw.
  """
  policy = make(prefix, sequence_length)
  return np.array([policy(row, rng=rng) for row in rows], np.int32)


def prefix_capacity(prefix: Mapping, sequence_length: int) -> int:
  """Returns P, the static number of tokens that a prefix has room for.

  Prefixes of a policy may all be shorter: see `longest_prefix`. Fractions are
  rounded to the nearest length: .29 of 100 tokens is 28.999… in floats.

  Args:
    prefix: `config.prefix`: the policy's name, capacity, a fraction, and the
      settings of the policy.
    sequence_length: L, tokens that the model reads.

  Raises:
    ValueError: a setting of the policy is impossible.
  """
  name, capacity = prefix['name'], prefix['capacity']
  if name == 'entropy':
    heuristic.check(prefix)
  by_name = {'none': 0, 'full': sequence_length}
  return by_name.get(name, round(capacity * sequence_length))


def longest_prefix(prefix: Mapping, sequence_length: int) -> int:
  """Returns the length of the longest prefix that occurs in training.

  Args:
    prefix: `config.prefix`, fitted if the policy is 'learned'.
    sequence_length: L, tokens that the model reads.

  Raises:
    ValueError: see `prefix_capacity`.
  """
  capacity = prefix_capacity(prefix, sequence_length)
  if prefix['name'] == 'entropy':
    return heuristic.longest(capacity, prefix)
  if prefix['name'] == 'learned':
    fraction = max(prefix['fitted']['fractions'])
    return min(round(fraction * sequence_length), capacity)
  return capacity


def of_prompt(tokens: np.ndarray, prefix: Mapping, sequence_length: int) -> int:
  """Returns how many tokens of a prompt are its prefix when it is continued.

  Policies that look at tokens see those of the prompt, as if it were a window
  of training. (Few tokens have less entropy than many, and so get the shorter
  prefixes, unless `config.prefix.window` measures all texts on one width.) The
  others give as many as there is room for; so does 'uniform', which has trained
  with every length. None gives more than `longest_prefix`.

  Args:
    tokens: int [n], the prompt.
    prefix: `config.prefix`, fitted where the policy needs it.
    sequence_length: L, tokens that the model has read in training.
  """
  longest = min(longest_prefix(prefix, sequence_length), len(tokens))
  if prefix['name'] not in FITTED:
    return longest
  wanted = make(prefix, sequence_length)(tokens, rng=None)  # they draw nothing
  return min(wanted, longest)


def mean_prefix(prefix: Mapping, sequence_length: int) -> float:
  """Returns the mean length that the policy gives to prefixes of training."""
  capacity = prefix_capacity(prefix, sequence_length)
  if prefix['name'] == 'uniform':
    return capacity / 2
  if prefix['name'] == 'entropy':
    return heuristic.mean_length(capacity, prefix)
  if prefix['name'] == 'learned':
    mean = prefix['fitted']['mean_fraction'] * sequence_length
    return min(mean, capacity)
  return capacity
