"""What a synthetic task is, and the parts that tasks are made of.

A task draws samples: a prompt, which may be a prefix, and a reply, at some of
whose positions the model must give an answer. The prompt has a document D, what
is to be remembered, and a question Q; `config.data.synthetic.order` says in
which order they stand, and how often: 'QD' asks first, 'DQDQ' reads twice.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

NO_ANSWER = -1

# Ids that every task keeps free of content. The question stands between
# QUESTION and END, and the reply begins with REPLY; 0 fills up.
QUESTION, END, REPLY = 1, 2, 3
NUM_MARKS = 4

# Keys of `config.data.synthetic` that are read whatever the task.
OF_EVERY_TASK = ('sizes', 'held_out_sizes', 'num_ids') + (
    'curriculum',
    'stage_steps',
)

Size = int | tuple[int, int]
Settings = Mapping[str, Any]  # `config.data.synthetic`, with the task's num_ids


class Sample(NamedTuple):
  """One question, or several about the same document."""

  tokens: np.ndarray  # int [n], what the model reads
  targets: np.ndarray  # int [n], the answer at a position, or NO_ANSWER
  prompt_len: int  # tokens that may be prefix


class Task(NamedTuple):
  """How a task is drawn.

  `draw(rng, size, settings)` returns a `Sample`, always as long for the same
  size; it raises ValueError if the settings have no such sample.
  `chance(size, settings)` is the accuracy of guessing among the answers that
  the prompt and what has been read of the reply leave open to one who remembers
  which they are, but neither pairs nor order.
  `draw_unnamed` is as `draw`, but asks for what the question has not named; it
  raises ValueError for a size that leaves too little of that.
  """

  draw: Callable[[np.random.Generator, Size, Settings], Sample]
  chance: Callable[[Size, Settings], float]
  num_ids: int  # unless the config says another number
  sizes: tuple[Size, ...]  # likewise
  held_out_sizes: tuple[Size, ...] = ()  # likewise; empty: `sizes`
  draw_unnamed: Callable | None = None
  size_is: str = 'a whole number'  # in words; a pair if it begins with 'a pair'
  # Keys of `config.data.synthetic` that it reads.
  settings: tuple[str, ...] = (*OF_EVERY_TASK, 'order', 'queries')


def sample(
    order: str,
    document: np.ndarray,
    question: Sequence[int],
    reply: np.ndarray,
    targets: np.ndarray,
) -> Sample:
  """Puts the parts of a prompt in order, and the reply after it.

  Args:
    order: of D and Q.
    document, question: int [n], n may differ.
    reply: int [m], what the model reads after the prompt.
    targets: int [m], the answer at each of its positions, or NO_ANSWER.
  """
  parts = {'D': document, 'Q': np.asarray(question, int)}
  prompt = np.concatenate([parts[letter] for letter in order])
  return Sample(
      np.concatenate([prompt, reply]),
      np.concatenate([np.full(len(prompt), NO_ANSWER), targets]),
      len(prompt),
  )


def pairs(*columns: np.ndarray) -> np.ndarray:
  """Returns x1 y1 x2 y2 … of columns x, y, …, int [n] each."""
  return np.stack(columns, axis=1).ravel()


def asked(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, ...]:
  """Returns a reply that asks for keys one after the other, and its targets.

  It is REPLY k1 k2 … kn: the answer at a key is its value, which the reply never
  shows. If it did, models would learn to leave out the values they have read, and
  two layers of linear attention would stay at that guess: asked for all of eight
  pairs they had 33 % right after 3,200 steps (guessing 34 %). Without values in
  the reply they have 94 % after 400 (one seed each).
  """
  reply = np.concatenate([[REPLY], keys])
  return reply, np.concatenate([[NO_ANSWER], values])


def num_asked(available: int, settings: Settings) -> int:
  """How many of the questions that there are a sample asks."""
  return min(settings['queries'] or available, available)


def halves(
    settings: Settings, first: int = NUM_MARKS
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the ids from `first` on in two equal halves: keys, and values."""
  half = max(settings['num_ids'] - first, 0) // 2
  return np.arange(first, first + half), np.arange(
      first + half, first + 2 * half
  )


def choose(
    rng: np.random.Generator, ids: np.ndarray, count: int, what: str
) -> np.ndarray:
  """Draws different ids.

  Raises:
    ValueError: there are fewer than `count`; `what` names them.
  """
  if count > len(ids):
    raise ValueError(
        f'config.data.synthetic.num_ids must leave {count} {what} for such a'
        f' size, it leaves {len(ids)}'
    )
  return rng.choice(ids, count, replace=False)
