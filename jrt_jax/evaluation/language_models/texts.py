"""What models of tokens share: pairs to ids, ends of texts, batches."""

from collections.abc import Callable, Sequence
import re
from typing import Any

import tqdm

Ids = list[int]


def encode_pair(
    encode: Callable[[str], Sequence[int]], context: str, continuation: str
) -> tuple[Ids, Ids]:
  """Returns the ids of a context and of what follows it.

  They are those of the whole text, cut where the context ends. Where a token
  would lie on both sides, each side is encoded for itself. Spaces at the end of
  the context go to what follows, as in lm-evaluation-harness: tokens begin with
  a space more often than they end with one.
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
  """Raises ValueError if a text and what follows it are too long for a model.

  Args:
    name: of the model.
    tokens: of the longest text.
    more: tokens that are to follow.
    most: of both together; None: any.
  """
  if most is not None and tokens + more > most:
    raise ValueError(
        f'{name} reads at most {most:,} tokens, got {tokens:,} and {more:,}'
        ' that are to follow'
    )


def in_batches(
    run: Callable[[list[Any]], Sequence[Any]],
    items: Sequence[Any],
    *,
    length: Callable[[Any], int],
    batch_size: int,
    what: str,
) -> list[Any]:
  """Returns what `run` makes of items, in their order.

  Args:
    run: returns a result for each of a few items.
    items: of similar lengths are run together, the longest first, so that
      memory fails early.
    length: of an item.
    batch_size: so many are run at once.
    what: for the progress bar.

  Raises:
    ValueError: the batch size is not positive.
  """
  if batch_size < 1:
    raise ValueError(f'batch_size must be positive, got {batch_size}')
  order = sorted(range(len(items)), key=lambda i: -length(items[i]))
  results = [None] * len(items)
  with tqdm.tqdm(
      total=len(items), desc=what, delay=1, leave=None, disable=None
  ) as bar:
    for start in range(0, len(order), batch_size):
      at = order[start : start + batch_size]
      found = run([items[i] for i in at])
      for i, result in zip(at, found, strict=True):
        results[i] = result
      bar.update(len(at))
  return results


def shares(seconds: float, counts: Sequence[int]) -> list[float]:
  """Divides the time of a batch by the tokens of its rows."""
  return [seconds * count / sum(counts) for count in counts]


class Words:
  """Words instead of tokens, where nothing tells the tokens of a model.

  A word has the space before it. There are about 4 English tokens to 3 words:
  what is cut to a number of words is longer in tokens.
  """

  unit = 'words'

  def __init__(self):
    self._ids, self._words = {}, []

  def encode(self, text: str) -> Ids:
    """Returns a number for each word, the same whenever it occurs."""
    return [self._id(word) for word in re.findall(r'\s*\S+|\s+', text)]

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of numbers that `encode` has returned."""
    return ''.join(self._words[i] for i in ids)

  def _id(self, word):
    if word not in self._ids:
      self._ids[word] = len(self._words)
      self._words.append(word)
    return self._ids[word]
