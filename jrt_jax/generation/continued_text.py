"""Where a generated text ends, and how much of it may be shown so far."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Completion(NamedTuple):
  """How a prompt was continued."""

  text: str
  # Int32 [n], without the end of text, but with the ids of a stop text.
  tokens: np.ndarray
  ended: str  # 'end of text', 'stop' or 'length'


class ContinuedText:
  """The continuation of one prompt, while its ids are sampled.

  Args:
    tokenizer: the tokenizer of the ids.
    max_tokens, stop: see `generation.GenerationSettings`.

  Attributes:
    tokens: a list of the ids up to the end.
    accepted, rejected: of the newest ids, those up to the end and those after.
    text: all that may be shown.
    ended: see `Completion`; '' as long as the text may go on.
  """

  def __init__(self, tokenizer: Any, max_tokens: int, stop: Sequence[str]):
    self._tokenizer, self._max_tokens, self._stops = tokenizer, max_tokens, stop
    self.tokens, self.accepted, self.rejected = [], [], []
    self.text = ''
    self.ended = '' if max_tokens else 'length'

  def add(self, ids: np.ndarray) -> str:
    """Adds sampled ids up to the end; returns the text that they add."""
    if self.ended:
      return ''
    ids, before = ids.tolist(), len(self.tokens)
    tokens: list[int] = (self.tokens + ids)[: self._max_tokens]
    if self._tokenizer.eos_id in tokens[before:]:
      self.ended = 'end of text'
      tokens = tokens[: tokens.index(self._tokenizer.eos_id, before)]
    elif len(tokens) == self._max_tokens:
      self.ended = 'length'
    text = self._tokenizer.decode(tokens)
    if self._stop(text) is not None:
      self.ended = 'stop'
      while self._stop(self._tokenizer.decode(tokens[: before + 1])) is None:
        before += 1
      tokens = tokens[: before + 1]
      text = text[: self._stop(text)]
    new = len(tokens) - len(self.tokens)
    self.tokens, self.accepted, self.rejected = tokens, ids[:new], ids[new:]
    shown = len(self.text)
    self.text = text if self.ended else self._certain(text)
    return self.text[shown:]

  def completion(self) -> Completion:
    """Returns the continuation so far, with all of its text."""
    text = self.text if self.ended else self._tokenizer.decode(self.tokens)
    return Completion(text, np.array(self.tokens, np.int32), self.ended)

  def _stop(self, text):
    """Where the first stop text starts, or None."""
    found = [text.find(stop) for stop in self._stops]
    return min((i for i in found if i >= 0), default=None)

  def _certain(self, text):
    """Removes an end that further tokens may still change."""
    text = text.rstrip('\ufffd')  # part of a character
    starts = {s[:n] for s in self._stops for n in range(1, len(s))}
    return text[
        : len(text)
        - max((len(s) for s in starts if text.endswith(s)), default=0)
    ]


def characters(tokenizer: Any) -> dict[str, np.ndarray]:
  """Returns for each character the ids whose texts contain it, int [n].

  The text of an id that is only a part of a character contains U+FFFD.
  """
  found = {}
  for i in range(tokenizer.size):
    # Twice, because some tokenizers drop a space at the start of a text.
    for character in set(tokenizer.decode([i, i])):
      found.setdefault(character, []).append(i)
  return {character: np.array(ids) for character, ids in found.items()}


def may_end(
    tokenizer: Any, stop: Sequence[str], ids_of: Mapping[str, np.ndarray]
) -> np.ndarray:
  """Returns bool [size]: the ids after which a text may have ended.

  These are the end of text and all ids that may complete a stop text.

  Args:
    tokenizer: the tokenizer of the ids.
    stop: see `generation.GenerationSettings`.
    ids_of: the result of `characters`; not used without stop texts.
  """
  found = np.zeros(tokenizer.size, bool)
  if 0 <= tokenizer.eos_id < tokenizer.size:
    found[tokenizer.eos_id] = True
  for character in {text[-1] for text in stop} | (
      {'\ufffd'} if stop else set()
  ):
    found[ids_of.get(character, [])] = True
  return found
