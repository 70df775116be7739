"""Hand-set weights that find one value among many with one slot of state.

A prompt has n pairs of a key and a value, and asks for the value of one key. A
model that knows the question while it reads the pairs can keep only one pair;
otherwise it must keep all. The weights are set by hand (`needle_model`) and are
the same in all rows: only the order of the prompt and the length of the prefix
differ.

Source: the argument of Arora et al. 2024, sections 1 and 3,
https://arxiv.org/abs/2407.05483; the construction is ours.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import numpy as np

from jrt_jax import models
from jrt_jax.evaluation.synthetic import needle_model
from jrt_jax.evaluation.synthetic import probes

_PAIRS = (24, 96)  # n
_NUM_PROMPTS = 64
_CHANCE = 1 / needle_model.NUM_VALUES
# The order of the prompt, and the part of it that is prefix.
_ARMS = {
    'prefix, pairs first': ('DQ', 'DQ'),
    'causal, question first': ('QD', ''),
    'causal, read twice': ('DQDQ', ''),
    'control: causal, pairs first': ('DQ', ''),
    'control: the question is not prefix': ('DQ', 'D'),
}


class Prompts(NamedTuple):
  """Prompts `… 3 key`; the next token should be the value of the key."""

  pairs: np.ndarray  # int [N, 2 n]: key, value, key, value, …
  key: np.ndarray  # int [N], the key in the question
  value: np.ndarray  # int [N], the answer

  def tokens(self, order: str) -> np.ndarray:
    """Int [N, L]; `order` is made of D (the pairs) and Q (the question)."""
    column = lambda token: np.broadcast_to(token, len(self.key))[:, None]
    ask, asked, answer, key = map(column, (*needle_model.MARKS, self.key))
    parts = {'D': [self.pairs], 'Q': [ask, key, asked]}
    read = [part for letter in order for part in parts[letter]]
    return np.concatenate([*read, answer, key], axis=1)


def draw(rng: np.random.Generator, num_prompts: int, num_pairs: int) -> Prompts:
  """Draws the order of all keys, a value for each, and the key to ask for."""
  shape = num_prompts, num_pairs
  keys = rng.random(shape).argsort(axis=1) + needle_model.FIRST_KEY
  values = rng.integers(needle_model.NUM_VALUES, size=shape)
  values += needle_model.FIRST_KEY + num_pairs
  asked = np.arange(num_prompts), rng.integers(num_pairs, size=num_prompts)
  pairs = np.stack([keys, values], axis=-1).reshape(num_prompts, -1)
  return Prompts(pairs, keys[asked], values[asked])


def length(order: str, num_pairs: int) -> int:
  """Returns the number of tokens for the letters D and Q of `order`."""
  return 2 * num_pairs * order.count('D') + 3 * order.count('Q')


@functools.cache
def reader(num_pairs: int) -> Callable[..., tuple[jax.Array, tuple]]:
  """Returns a function from tokens [N, L] and prefix_len [N].

  It returns the logits [N, vocab_size] after the last token, which the decode
  step reads, and the states of the layers.
  """
  merge, _ = models.abstract(needle_model.config(num_pairs))

  @jax.jit
  def read(params, tokens, prefix_len):
    model = merge(params)
    _, states = model.prefill(tokens[:, :-1], prefix_len=prefix_len)
    return model.decode_step(tokens[:, -1], states)

  return functools.partial(read, needle_model.weights(num_pairs))


def accuracy(prompts: Prompts, order: str, prefix: str) -> float:
  """Returns how often the likeliest value is the right one.

  Args:
    prompts: the prompts.
    order: letters D and Q, as for `Prompts.tokens`.
    prefix: the part of `order` that is prefix, from its start.
  """
  N, num_pairs = len(prompts.key), prompts.pairs.shape[1] // 2
  prefix_len = np.full(N, length(prefix, num_pairs), np.int32)
  logits, _ = reader(num_pairs)(prompts.tokens(order), prefix_len)
  first = needle_model.FIRST_KEY + num_pairs
  best = first + np.asarray(logits)[:, first:].argmax(axis=1)
  return float((best == prompts.value).mean())


def _measure(rng: np.random.Generator) -> probes.Figures:
  figures = {}
  for num_pairs in _PAIRS:
    prompts = draw(rng, _NUM_PROMPTS, num_pairs)
    for name, (order, prefix) in _ARMS.items():
      figures[name, f'n = {num_pairs}'] = accuracy(prompts, order, prefix)
    figures['chance', f'n = {num_pairs}'] = _CHANCE
  return figures


def _expectations(figures: probes.Seeds) -> list[probes.Expectation]:
  expectations = []
  for (row, column), values in figures.items():
    if row in _ARMS:
      control = row.startswith('control')
      bounds = {'high': 3 * _CHANCE} if control else {'low': 1, 'high': 1}
      what = f'{row}, {column}'
      expectations.append(probes.Expectation(what, values, **bounds))
  return expectations


PROBE = probes.Probe(
    'Needle: how often one of n values is found with one slot of state (D = 1)',
    _measure,
    _expectations,
)
