"""Draws tokens after what was read: the loop on the device, and its start."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.generation.model import Model
from jrt_jax.generation.prefill import DecodeState
from jrt_jax.models import decode
from jrt_jax.models.sampling import Sampling


def seeds_of(count: int, seeds: Sequence[int] | None, first: int) -> np.ndarray:
  """Returns int32 [count], those that are given or as many from `first` on.

  Raises:
    ValueError: they are not as many as prompts, or out of range.
  """
  if seeds is None:
    seeds = first + np.arange(count)
  if len(seeds) != count:
    raise ValueError(
        f'there must be a seed for each of the {count} prompts, got'
        f' {len(seeds)}'
    )
  if min(seeds) < 0 or max(seeds) >= 2**31:
    raise ValueError(
        f'seeds must lie in [0, 2**31), got {min(seeds)} to {max(seeds)}'
    )
  return np.asarray(seeds, np.int32)


def start(
    model: Model,
    state: DecodeState,
    seeds: Sequence[int],
    seen: np.ndarray | None,
) -> decode.SamplerState:
  """Returns what the first draws after `state` depend on.

  Args:
    model: that has read.
    state: of B rows.
    seeds: int32 [n] of the first rows; others draw with the same again.
    seen: bool [B, num_ids], which ids have occurred; None: it does not matter.
  """
  keys = jax.vmap(jax.random.key)(np.resize(seeds, len(state.position)))
  # Where later draws are, or the loop would be compiled for both.
  return model.commit(decode.SamplerState(keys, jnp.int32(0), seen))


def run(
    model: Model, state: DecodeState, sampler: decode.SamplerState, **how: Any
) -> tuple[decode.DecodedTokens, DecodeState, decode.SamplerState]:
  """Draws tokens and reads them.

  Args:
    model: that reads.
    state: what was read before. Its states are updated where they are: it is
      gone, and so is `sampler`.
    sampler: see `decode.SamplerState`.
    how: see `arguments`.

  Returns:
    what was drawn, on the host; and the state and the sampler after it.
  """
  args, options = arguments(model, state, sampler, **how)
  with model.on_mesh():
    drawn, logits, states, sampler = decode.decode(*args, **options)
  drawn = jax.device_get(drawn)
  after = state._replace(
      logits=logits, states=states, position=state.position + drawn.count
  )
  return drawn, after, sampler


def arguments(
    model: Model,
    state: DecodeState,
    sampler: decode.SamplerState,
    *,
    tokens: int,
    least: int = 0,
    rows: np.ndarray,
    may_end: np.ndarray,
    sampling: Sampling,
    check_every: int = decode.CHECK_EVERY,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
  """Returns what `decode.decode` is called with.

  Args:
    model, state, sampler: see `run`.
    tokens, least, rows, may_end: see `decode.StopRule`; `may_end` has an entry
      for each id that may be drawn.
    sampling, check_every: see `decode.decode`.
  """
  until = decode.StopRule(np.int32(tokens), np.int32(least), rows, may_end)
  start = state.logits, state.states, sampler
  return (model.merge, model.served, *start, until), {
      'num_ids': len(may_end),
      'sampling': sampling,
      'check_every': check_every,
  }
