"""What has been read, as something to be kept and continued."""

from __future__ import annotations

from collections.abc import Sequence
import os
import pathlib
import typing

import jax
import numpy as np

from jrt_jax.api import arguments
from jrt_jax.api.arguments import Text
from jrt_jax.generation import completions
from jrt_jax.generation import prefill
from jrt_jax.generation import state_file
from jrt_jax.generation.prefill import DecodeState

if typing.TYPE_CHECKING:
  from jrt_jax.api.text_model import TextModel

_ONLY_READ = completions.GenerationSettings(max_tokens=0)


class State:
  """The memory of one text, or of B texts, from `lm.read` or `lm.load_state`.

  It does not change: `extend` returns another. For models without `attention`
  layers its size does not depend on how much was read.

  >>> import jrt_jax
  >>> lm = jrt_jax.load('builtin:jrt_2m')
  >>> state = lm.read('My fellow Americans,')
  >>> longer = state.extend(' the President of the')
  >>> longer
  <state of 1 text: 9 tokens read, 300,840 bytes each>
  >>> lm.generate(' United', state=longer, max_tokens=6)
  ' States, and the Congress to'
  >>> state.num_tokens, state.log_probs.shape
  (5, (4095,))

  Attributes:
    lm: the `TextModel` that has read.
    decode_state: the arrays, a `jrt_jax.generation.prefill.DecodeState`.
    is_single: whether results are those of one text, not lists of B.
  """

  def __init__(self, lm: TextModel, decode_state: DecodeState, is_single: bool):
    self.lm, self.decode_state, self.is_single = lm, decode_state, is_single

  def __len__(self) -> int:
    """B, how many texts have been read beside each other."""
    return len(self.decode_state.position)

  def __repr__(self) -> str:
    return (
        f'<state of {len(self)} text{"s" * (len(self) > 1)}:'
        f' {self.num_tokens} tokens read, {self.nbytes:,} bytes each>'
    )

  @property
  def num_tokens(self) -> int | list[int]:
    """How many tokens have been read, by each text."""
    return self._single(self.decode_state.position.tolist())

  @property
  def num_prefix_tokens(self) -> int | list[int]:
    """How many of them as prefix, so that they have seen what comes later."""
    return self._single(self.decode_state.prefix.tolist())

  @property
  def nbytes(self) -> int:
    """The bytes that are kept of each text."""
    return prefill.state_bytes(self.decode_state)

  @property
  def log_probs(self) -> np.ndarray:
    """Of the next token, in nats: float32 [ids], or [B, ids] of several texts.

    There is one for each id of the tokenizer. What a model of more ids gives to
    the others is missing: the probabilities add up to hardly less than 1.
    """
    log_probs = np.asarray(jax.nn.log_softmax(self.decode_state.logits))
    return self._single(log_probs[:, : self.lm.model.tokenizer.size])

  def extend(
      self, texts: Text | Sequence[Text], *, turn: str = 'turn_blocks'
  ) -> State:
    """Reads on, and returns the state after that; this one stays as it is.

    Args:
      texts: what follows, a text or token ids: the same for each of the B
        texts, or a list of B. One text can be followed by several, too.
      turn: 'turn_blocks' reads what is added as prefix, in blocks of the
        length of the model's prefix, so that each of its tokens sees all of its
        block; 'append_causal' reads it as the model reads what it has written.

    Raises:
      ValueError: it is no text, there are not B of them, or an id is unknown.
    """
    new, is_single = arguments.as_list('texts', texts)
    if is_single:
      new *= len(self)
    return read(
        self.lm,
        new,
        after=self,
        turn=turn,
        is_single=is_single and self.is_single,
    )

  def save(self, path: str | os.PathLike) -> None:
    """Writes an .npz file that `lm.load_state` reads; it replaces another.

    Raises:
      OSError: it cannot be written.
    """
    path = pathlib.Path(path).expanduser()
    state_file.save(path, self.lm.model, self.decode_state)

  def rows(self, at: Sequence[int]) -> DecodeState:
    """Returns what the texts `at` have read; a single one stands for any."""
    if len(self) == 1:
      return self.decode_state
    return prefill.take([self.decode_state], np.array(at))

  def _single(self, rows):
    return rows[0] if self.is_single else rows


def read(
    lm: TextModel,
    texts: Sequence[str | np.ndarray],
    *,
    after: State | None = None,
    turn: str = 'turn_blocks',
    is_single: bool,
    settings: completions.GenerationSettings = _ONLY_READ,
) -> State:
  """Returns the state of texts, as `lm.read` and `State.extend` do."""
  if not texts:
    raise ValueError('texts must be at least one, got none')
  ids = [arguments.ids(lm.model, text) for text in texts]
  continuation = completions.Continuation(
      lm.model,
      [x if after else lm.model.context(x) for x in ids],
      settings,
      after=after and after.decode_state,
      turn=turn,
  )
  return State(lm, continuation.decode_state, is_single)
