"""Divides a prompt or a turn into segments that are prefix or causal."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jrt_jax.generation import long_prompts
from jrt_jax.generation.model import Model
from jrt_jax.prefix import short_prompts


class Segment(NamedTuple):
  """Consecutive tokens of a row; all of them are prefix, or none."""

  tokens: np.ndarray  # int32 [n]
  is_prefix: bool
  padding: int = 0  # see short_prompts.Prompt; in a row's first segment only


def of_prompt(
    model: Model,
    tokens: np.ndarray,
    *,
    short: str | None = None,
    long: str = 'head',
) -> list[Segment]:
  """Returns the segments of a prompt.

  The policy of the run gives the prefix length, unless a strategy fills the
  prefix (`short`) or makes all tokens prefix (`long`).

  Args:
    model: the model that will read it.
    tokens: int32 [n].
    short: a name in SHORT_PROMPTS, for prompts shorter than the model's prefix;
      None: the default of the model.
    long: a name in LONG_PROMPTS, for other prompts, and for short ones that are
      not filled.

  Raises:
    ValueError: a name is unknown.
  """
  if short is None:
    reference = model.config['model']['pad_mask'] == 'reference'
    short = 'left_pad_reference' if reference else 'trim'
  _check_name('short_prompt', short, short_prompts.SHORT_PROMPTS)
  _check_name('long_prompt', long, long_prompts.LONG_PROMPTS)
  M, fill = model.prefix_capacity, short_prompts.SHORT_PROMPTS[short]
  if fill and len(tokens) < M:
    prompt = fill(tokens, capacity=M, pad_id=model.pad_id)
    return [Segment(prompt.tokens, True, prompt.padding)]
  if long in long_prompts.BY_POLICY:
    M = model.prefix_len(tokens)
  return planned(tokens, long_prompts.LONG_PROMPTS[long](len(tokens), M))


def of_turn(model: Model, tokens: np.ndarray, turn: str) -> list[Segment]:
  """Returns the segments of tokens that follow earlier ones.

  Args:
    model: the model that will read them.
    tokens: int32 [n].
    turn: a name in TURNS.

  Raises:
    ValueError: see `turn_plan`.
  """
  plan = turn_plan(turn)
  return planned(tokens, plan(len(tokens), model.prefix_capacity))


def turn_plan(turn: str) -> Callable[[int, int], long_prompts.Plan]:
  """Returns the plan of turns that follow a state.

  Raises:
    ValueError: the name is unknown, or such turns need all earlier tokens.
  """
  _check_name('turn', turn, long_prompts.TURNS)
  plan = long_prompts.TURNS[turn]
  if plan is None:
    raise ValueError(f'{turn=} needs the tokens of all that was read before')
  return plan


def planned(tokens: np.ndarray, plan: long_prompts.Plan) -> list[Segment]:
  """Returns the segments into which a plan divides tokens."""
  starts = [0, *(end for end, _ in plan)]
  return [Segment(tokens[i:j], p) for i, (j, p) in zip(starts, plan)]


def _check_name(argument: str, name: str, names: Sequence[str]) -> None:
  if name not in names:
    raise ValueError(f'{argument} must be one of {sorted(names)}, got {name!r}')
