"""The state after texts, which can be saved and continued."""

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
from jrt_jax.generation.settings import GenerationSettings

if typing.TYPE_CHECKING:
  from jrt_jax.api.text_model import TextModel

_ONLY_READ = GenerationSettings(max_tokens=0)


class State:
  """The state after one text or B texts, from `lm.read` or `lm.load_state`.

  A state is immutable: `extend` returns a new one. For models without
  `attention` layers its size does not depend on the length of the text.

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
    lm: the `TextModel` that has read the texts.
    decode_state: the arrays, a `jrt_jax.generation.prefill.DecodeState`.
    is_single: whether results are for one text, not lists of B.
  """

  def __init__(self, lm: TextModel, decode_state: DecodeState, is_single: bool):
    self.lm, self.decode_state, self.is_single = lm, decode_state, is_single

  def __len__(self) -> int:
    """B, the number of texts."""
    return len(self.decode_state.position)

  def __repr__(self) -> str:
    return (
        f'<state of {len(self)} text{"s" * (len(self) > 1)}:'
        f' {self.num_tokens} tokens read, {self.nbytes:,} bytes each>'
    )

  @property
  def num_tokens(self) -> int | list[int]:
    """The number of tokens of each text that have been read."""
    return self._single(self.decode_state.position.tolist())

  @property
  def num_prefix_tokens(self) -> int | list[int]:
    """How many of these tokens were prefix, and so saw later tokens."""
    return self._single(self.decode_state.prefix.tolist())

  @property
  def nbytes(self) -> int:
    """The size of the state of each text, in bytes."""
    return prefill.state_bytes(self.decode_state)

  @property
  def log_probs(self) -> np.ndarray:
    """Log-probabilities of the next token, float32 [ids] or [B, ids], in nats.

    There is one for each id of the tokenizer. If the model has more ids than
    the tokenizer, the probabilities add up to slightly less than 1.
    """
    log_probs = np.asarray(jax.nn.log_softmax(self.decode_state.logits))
    return self._single(log_probs[:, : self.lm.model.tokenizer.size])

  def extend(
      self, texts: Text | Sequence[Text], *, turn: str = 'turn_blocks'
  ) -> State:
    """Reads more text and returns the new state; this state does not change.

    Args:
      texts: a text or token ids that follow all B texts, or a list of B. The
        state of a single text can also be extended by several texts.
      turn: 'turn_blocks' reads the new text as prefix, in blocks of the length
        of the model's prefix, so that each token sees its whole block.
        'append_causal' reads it causally, like tokens that the model generated.

    Raises:
      ValueError: `texts` are not texts, there are not B of them, or an id is
        unknown.
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
    """Writes an .npz file for `lm.load_state`; an existing file is replaced.

    Raises:
      OSError: the file cannot be written.
    """
    path = pathlib.Path(path).expanduser()
    state_file.save(path, self.lm.model, self.decode_state)

  def rows(self, at: Sequence[int]) -> DecodeState:
    """Returns the state of the texts `at`; a single text serves any index."""
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
    settings: GenerationSettings = _ONLY_READ,
) -> State:
  """Returns the state after texts, for `lm.read` and `State.extend`."""
  if not texts:
    raise ValueError('texts must hold at least one text, got none')
  ids = [arguments.ids(lm.model, text) for text in texts]
  continuation = completions.Continuation(
      lm.model,
      [x if after else lm.model.context(x) for x in ids],
      settings,
      after=after and after.decode_state,
      turn=turn,
  )
  return State(lm, continuation.decode_state, is_single)
