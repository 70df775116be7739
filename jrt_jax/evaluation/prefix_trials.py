"""Cuts prompts from text, and scores their answers for given prefix lengths.

A prompt is a piece of a document, and its answer is the text that follows. This
needs no questions, so that a policy can be learned from any text.
"""

from collections.abc import Sequence
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.data import recallable_tokens
from jrt_jax.data import streams
from jrt_jax.generation.model import Model
from jrt_jax.prefix import fitting
from jrt_jax.prefix.learned import trials

# The scored tokens of an answer, from bool [N, k]: those that can be recalled.
ANSWERS = {
    'recall': lambda recallable: recallable,
    'all': np.ones_like,
}


class Prompt(NamedTuple):
  """A piece of a document, and the tokens that follow it."""

  tokens: np.ndarray  # int [n]
  answer: np.ndarray  # int [k]
  counts: np.ndarray  # bool [k], the tokens of the answer that are scored


def cut(
    tokens: streams.TokenStream,
    *,
    length: int,
    answer_tokens: int,
    count: int,
    eos_id: int,
    answers: str = 'recall',
) -> list[Prompt]:
  """Returns prompts that are spread evenly over a stream.

  A prompt is shorter than `length` if its document ends. Prompts are dropped if
  no token of their answer is scored, or if they are shorter than their answer.

  Args:
    tokens: documents, each of which ends with `eos_id`.
    length: the most tokens of a prompt.
    answer_tokens: k, the tokens of an answer.
    count: the most prompts that are cut.
    eos_id: see `tokens`.
    answers: a key of `ANSWERS`; 'recall' scores tokens that end a rare pair
      which has occurred before in the document: see
      `data/recallable_tokens.py`.

  Raises:
    ValueError: the text gives fewer than two prompts.
  """
  k = answer_tokens
  windows = fitting.sample_windows(tokens, length + k, count)
  if len(windows) < 2:
    raise ValueError(
        f'the text must have at least two prompts of {length} tokens with'
        f' answers of {k}, got {len(tokens):,} tokens'
    )
  windows = np.stack(windows)
  ends = windows == eos_id
  segment_ids = np.cumsum(ends, axis=1) - ends
  recallable = recallable_tokens.recallable(windows, segment_ids[:, :-1])
  prompts = []
  for window, labels, first in zip(windows, recallable, segment_ids == 0):
    n = int(first.sum()) - k
    if n >= k:
      counts = ANSWERS[answers](labels[n - 1 :][:k])
      prompts.append(Prompt(window[:n], window[n : n + k], counts))
  prompts = [prompt for prompt in prompts if prompt.counts.any()]
  if len(prompts) < 2:  # one half is held out
    raise ValueError(
        f'the text must have documents of at least {2 * k} tokens, so that at'
        f' least two prompts have an answer of {k} with scored tokens'
        f' ({answers}), got {len(prompts)} of {len(windows)} prompts'
    )
  return prompts


def scorer(
    model: Model, prompts: Sequence[Prompt], *, batch_size: int
) -> trials.Score:
  """Returns the `score` function of `prefix.learned.trials.collect`.

  Scores are mean log-probabilities, in nats, of the scored tokens of the
  answer. Only prompts can be prefix, so that no answer sees itself. The model
  is compiled for a few prefix capacities, so that shorter prefixes cost less.
  """
  longest = max(len(p.tokens) + len(p.answer) for p in prompts)
  tokens = np.zeros((len(prompts), longest), np.int32)
  for row, prompt in zip(tokens, prompts):
    both = np.concatenate([prompt.tokens, prompt.answer])
    row[: len(both)] = model.encode(both)
  lengths = np.array([len(prompt.tokens) for prompt in prompts])
  counts = np.stack([prompt.counts for prompt in prompts])
  capacities = _capacities(lengths.max())

  def score(rows, prefix_len):
    fill = [(0, batch_size - len(rows))]  # one shape
    batch = np.pad(rows, fill, 'edge')
    with model.on_mesh():
      scores = _score(
          model.merge,
          model.served,
          tokens[batch],
          lengths[batch],
          counts[batch],
          np.pad(prefix_len, fill, 'edge'),
          capacity=min(c for c in capacities if c >= max(prefix_len)),
      )
    return np.asarray(scores, np.float64)[: len(rows)]

  return score


def _capacities(longest):
  """At most eight capacities: 0, and others that grow by a factor of ≈ 1.4."""
  return {0, *(round(longest * 2 ** (-i / 2)) for i in range(7))}


@functools.partial(jax.jit, static_argnames=('merge', 'capacity'))
def _score(merge, params, tokens, lengths, counts, prefix_len, *, capacity):
  model, k = merge(params), counts.shape[1]
  hidden = model.hidden(
      tokens,
      prefix_len=prefix_len,
      prefix_capacity=capacity,
      mask=jnp.arange(tokens.shape[1]) < lengths[:, None] + k,
  )
  at = lengths[:, None] + jnp.arange(k)
  before = jnp.take_along_axis(hidden, (at - 1)[..., None], axis=1)
  log_probs = jax.nn.log_softmax(model.logits(before))
  answer = jnp.take_along_axis(tokens, at, axis=1)
  found = jnp.take_along_axis(log_probs, answer[..., None], axis=2)[..., 0]
  return (found * counts).sum(axis=1) / counts.sum(axis=1)
