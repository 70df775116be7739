"""Continues texts, or states of texts that were read before."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jrt_jax import generation
from jrt_jax.api import arguments
from jrt_jax.api.arguments import Text
from jrt_jax.api.state import State
from jrt_jax.evaluation.language_models import texts as texts_lib
from jrt_jax.generation import prompt_segments


def settings(
    *,
    max_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    repetition_penalty: float,
    stop: str | Sequence[str],
    seed: int,
    **how: Any,
) -> generation.GenerationSettings:
  """Returns `generation.GenerationSettings` from a user's arguments.

  Raises:
    ValueError: an argument has the wrong type, or is out of range.
  """
  number, whole = arguments.number, arguments.whole
  return generation.GenerationSettings(
      generation.Sampling(
          number('temperature', temperature),
          whole('top_k', top_k, 0),
          number('top_p', top_p),
          number('repetition_penalty', repetition_penalty),
      ),
      max_tokens=whole('max_tokens', max_tokens, 0),
      stop=arguments.stop_texts(stop),
      seed=whole('seed', seed, 0),
      **how,
  )


def generate(
    model: generation.Model,
    texts: Text | Sequence[Text] | None,
    settings: generation.GenerationSettings,
    reading: str,
    state: State | None,
    turn: str,
    batch_size: int,
) -> str | list[str]:
  """Continues each text, or each text of the state; see `TextModel.generate`.

  Text b uses the seed of the settings + b.

  Raises:
    ValueError: `texts` are not texts, the state is from another model, or the
      number of texts differs from that of the state.
  """
  rows, is_single = _prompts(model, texts, reading, state)
  found = _continued(model, rows, settings, state, turn, batch_size)
  return found[0] if is_single else found


def _prompts(model, texts, reading, state):
  """The ids of each row, int32 [n], and whether the result is single."""
  _check(model, state)
  if texts is None:
    if state is None:
      raise ValueError('texts or state must be given, got neither')
    return [np.zeros(0, np.int32)] * len(state), state.is_single
  texts, is_single = arguments.as_list('texts', texts)
  rows = [arguments.ids(model, x) for x in arguments.read(texts, reading)]
  if state is None:
    return [model.context(row) for row in rows], is_single
  if is_single:
    rows *= len(state)
  if len(state) not in (1, len(rows)):
    raise ValueError(
        f'texts must be one for each of the {len(state)} texts of the state,'
        f' got {len(rows)}'
    )
  return rows, is_single and state.is_single


def _continued(model, rows, settings, state, turn, batch_size):
  """The continuation of each row."""
  prompt_segments.turn_plan(turn)  # raises for an unknown name
  size = min(batch_size, len(rows))

  def run(batch):
    # One shape: copies of the last row pad the last batch.
    at, prompts = zip(*batch, *batch[-1:] * (size - len(batch)))
    found = generation.Continuation(
        model,
        prompts,
        settings,
        after=state and state.rows(at),
        turn=turn,
        seeds=[(settings.seed + b) % 2**31 for b in at],
    )
    found.finish()
    return [completion.text for completion in found.completions[: len(batch)]]

  return texts_lib.in_batches(
      run,
      [*enumerate(rows)],
      length=lambda row: len(row[1]),
      batch_size=batch_size,
      what='generating',
  )


def _check(model, state):
  if state is None:
    return
  if not isinstance(state, State):
    raise ValueError(
        'state must be a result of lm.read or lm.load_state, got'
        f' {type(state).__name__}'
    )
  other = state.lm.model
  if other is not model and other.fingerprint != model.fingerprint:
    raise ValueError(f'state must be of this model, got that of {state.lm}')
