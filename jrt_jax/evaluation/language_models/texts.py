"""Helpers that language models share: ids of pairs, stop texts, batches."""

from collections.abc import Callable, Sequence
import re
from typing import Any

from jrt_jax.reporting.progress import progress_bar

Ids = list[int]


def encode_pair(
    encode: Callable[[str], Sequence[int]], context: str, continuation: str
) -> tuple[Ids, Ids]:
  """Returns the ids of a context and of its continuation.

  They are the ids of the whole text, divided where the context ends. If a token
  would lie on both sides, each side is encoded separately. Spaces at the end of
  the context are moved to the continuation, as in lm-evaluation-harness,
  because tokens begin with a space more often than they end with one.
  """
  kept = context.rstrip()
  continuation = context[len(kept) :] + continuation
  before, whole = [*encode(kept)], [*encode(kept + continuation)]
  if whole[: len(before)] == before:
    return before, whole[len(before) :]
  return before, [*encode(continuation)]


def before_stop(text: str, stop: Sequence[str]) -> str:
  """Returns a text up to the first of the texts `stop`."""
  found = [text.find(x) for x in stop]
  return text[: min((i for i in found if i >= 0), default=None)]


def check_length(name: str, tokens: int, more: int, most: int | None) -> None:
  """Raises ValueError if a text and its continuation are too long for a model.

  Args:
    name: the name of the model.
    tokens: the tokens of the longest text.
    more: the tokens of its continuation.
    most: the bound for both together; None: no bound.
  """
  if most is not None and tokens + more > most:
    raise ValueError(
        f'{name} reads at most {most:,} tokens, got {tokens:,} and {more:,}'
        ' of the continuation'
    )


def in_batches(
    run: Callable[[list[Any]], Sequence[Any]],
    items: Sequence[Any],
    *,
    length: Callable[[Any], int],
    batch_size: int,
    what: str,
) -> list[Any]:
  """Returns the results of `run` for all items, in their order.

  Args:
    run: a function that returns a result for each item of a batch.
    items: items of similar lengths form a batch; the longest come first, so
      that memory runs out early or never.
    length: a function that returns the length of an item.
    batch_size: the number of items in a batch.
    what: the text of the progress bar.

  Raises:
    ValueError: the batch size is not positive.
  """
  if batch_size < 1:
    raise ValueError(f'batch_size must be positive, got {batch_size}')
  order = sorted(range(len(items)), key=lambda i: -length(items[i]))
  results = [None] * len(items)
  with progress_bar(total=len(items), desc=what) as bar:
    for start in range(0, len(order), batch_size):
      at = order[start : start + batch_size]
      found = run([items[i] for i in at])
      for i, result in zip(at, found, strict=True):
        results[i] = result
      bar.update(len(at))
  return results


def shares(seconds: float, counts: Sequence[int]) -> list[float]:
  """Divides the time of a batch among its rows, by their tokens."""
  return [seconds * count / sum(counts) for count in counts]


class Words:
  """Words in place of tokens, if the tokenizer of a model is not known.

  A word includes the space before it. English has about 4 tokens for 3 words:
  a text that is cut to a number of words has more tokens.
  """

  unit = 'words'

  def __init__(self):
    self._ids, self._words = {}, []

  def encode(self, text: str) -> Ids:
    """Returns a number for each word; equal words have equal numbers."""
    return [self._id(word) for word in re.findall(r'\s*\S+|\s+', text)]

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of numbers that `encode` has returned."""
    return ''.join(self._words[i] for i in ids)

  def _id(self, word):
    if word not in self._ids:
      self._ids[word] = len(self._words)
      self._words.append(word)
    return self._ids[word]
