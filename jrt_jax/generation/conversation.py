"""A text that is written in turns."""

import dataclasses

import numpy as np

from jrt_jax.generation import prompt_segments
from jrt_jax.generation.completions import Continuation
from jrt_jax.generation.model import Model
from jrt_jax.generation.prefill import DecodeState
from jrt_jax.generation.settings import GenerationSettings


class Conversation:
  """Reads turns and continues each of them.

  Args:
    model: the model that reads and continues.
    settings: how; the first turn is read as a prompt.
    turn: how later turns are read. 'turn_blocks': as blocks of prefix, so that
      a turn sees itself and all before it; 'append_causal': like tokens that
      the model has generated; 'reencode': everything so far is read again as
      one new prompt.
    after: the reading of texts before the first turn.

  Raises:
    ValueError: a name is unknown, or `turn` is 'reencode' and `after` is given:
      its texts are not known and cannot be read again.
  """

  def __init__(
      self,
      model: Model,
      settings: GenerationSettings = GenerationSettings(),
      *,
      turn: str = 'turn_blocks',
      after: DecodeState | None = None,
  ):
    if turn != 'reencode' or after is not None:
      prompt_segments.turn_plan(turn)  # raises errors before anything is read
    self._model, self._settings, self._turn = model, settings, turn
    self._first = after
    self._turns, self._last = 0, None  # the newest Continuation

  @property
  def decode_state(self) -> DecodeState | None:
    """The state after all turns and their continuations."""
    return self._last.settled() if self._last else self._first

  def say(self, text: str | np.ndarray) -> Continuation:
    """Reads a turn and returns its continuation, to be iterated over.

    Raises:
      ValueError: the turn is empty or has unknown ids.
    """
    tokens, after = self._model.encode(text), None
    if self._turn != 'reencode':
      after = self.decode_state
    elif self._last:
      answer = self._last.completions[0].tokens
      tokens = np.concatenate([self._last.prompts[0], answer, tokens])
    seed = self._settings.seed + self._turns
    self._last = Continuation(
        self._model,
        [tokens],
        dataclasses.replace(self._settings, seed=seed),
        after=after,
        turn=self._turn,
        settles=True,
    )
    self._turns += 1
    return self._last
