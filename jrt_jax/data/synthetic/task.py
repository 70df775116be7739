"""The interface of synthetic tasks, and functions that several tasks use.

A task draws samples. A sample is a prompt, which may be prefix, and a reply; at
some positions of the reply the model must give an answer. The prompt has a
document D, which must be remembered, and a question Q. Their order is
`config.data.synthetic.order`: 'QD' asks first, 'DQDQ' shows both twice.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

NO_ANSWER = -1

# Ids that no task uses as content. The question is between QUESTION and END,
# the reply begins with REPLY, and 0 is padding.
QUESTION, END, REPLY = 1, 2, 3
NUM_MARKS = 4

# The keys of `config.data.synthetic` that every task reads.
OF_EVERY_TASK = ('sizes', 'held_out_sizes', 'num_ids') + (
    'curriculum',
    'stage_steps',
)

Size = int | tuple[int, int]
Settings = Mapping[str, Any]  # `config.data.synthetic`, with the task's num_ids


class Sample(NamedTuple):
  """A document with one or several questions."""

  tokens: np.ndarray  # int [n], what the model reads
  targets: np.ndarray  # int [n], the answer at a position, or NO_ANSWER
  prompt_len: int  # number of first tokens that may be prefix


class Task(NamedTuple):
  """How samples of a task are drawn.

  `draw(rng, size, settings)` returns a `Sample`, whose length depends on the
  size only; it raises ValueError if there is no such sample with these
  settings. `chance(size, settings)` is the accuracy of guessing: it is reached
  by a model that remembers which tokens are possible answers, but not which
  belongs where. `draw_unnamed` is like `draw`, but the reply asks for items
  that the question did not name; it raises ValueError if the size leaves too
  few of them.
  """

  draw: Callable[[np.random.Generator, Size, Settings], Sample]
  chance: Callable[[Size, Settings], float]
  num_ids: int  # default number of ids
  sizes: tuple[Size, ...]  # default sizes
  held_out_sizes: tuple[Size, ...] = ()  # default; empty: `sizes`
  draw_unnamed: Callable | None = None
  size_is: str = 'a whole number'  # in words; pairs start with 'a pair'
  # The keys of `config.data.synthetic` that the task reads.
  settings: tuple[str, ...] = (*OF_EVERY_TASK, 'order', 'queries')


def sample(
    order: str,
    document: np.ndarray,
    question: Sequence[int],
    reply: np.ndarray,
    targets: np.ndarray,
) -> Sample:
  """Returns a sample: the parts of the prompt in order, then the reply.

  Args:
    order: letters D and Q, as in 'DQ'.
    document, question: int [n] each; n may differ.
    reply: int [m], the tokens after the prompt.
    targets: int [m], the answer at each position of the reply, or NO_ANSWER.
  """
  parts = {'D': document, 'Q': np.asarray(question, int)}
  prompt = np.concatenate([parts[letter] for letter in order])
  return Sample(
      np.concatenate([prompt, reply]),
      np.concatenate([np.full(len(prompt), NO_ANSWER), targets]),
      len(prompt),
  )


def pairs(*columns: np.ndarray) -> np.ndarray:
  """Interleaves columns x, y, …, int [n] each: x1 y1 … x2 y2 …"""
  return np.stack(columns, axis=1).ravel()


def asked(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, ...]:
  """Returns a reply that asks for keys one after the other, and its targets.

  It is REPLY k1 k2 … kn: the answer at a key is its value, which the reply
  never shows. If the reply showed values, models would learn to exclude those
  that they have read, and stop there: two layers of linear attention, asked for
  all of eight pairs, had 33 % right after 3,200 steps (guessing 34 %). Without
  values in the reply they have 94 % right after 400 steps (one seed each).
  """
  reply = np.concatenate([[REPLY], keys])
  return reply, np.concatenate([[NO_ANSWER], values])


def num_asked(available: int, settings: Settings) -> int:
  """Returns how many of the available questions a sample asks."""
  return min(settings['queries'] or available, available)


def halves(
    settings: Settings, first: int = NUM_MARKS
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the ids from `first` on as two equal halves: keys and values."""
  half = max(settings['num_ids'] - first, 0) // 2
  return np.arange(first, first + half), np.arange(
      first + half, first + 2 * half
  )


def choose(
    rng: np.random.Generator, ids: np.ndarray, count: int, what: str
) -> np.ndarray:
  """Draws `count` different ids.

  Raises:
    ValueError: there are fewer ids; the message calls them `what`.
  """
  if count > len(ids):
    raise ValueError(
        f'config.data.synthetic.num_ids must leave {count} {what} for this'
        f' size, got {len(ids)}'
    )
  return rng.choice(ids, count, replace=False)
