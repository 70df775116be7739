"""Starts and runs the loop on the device that samples tokens."""

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
  """Returns int32 [count]: the given seeds, or consecutive ones from `first`.

  Raises:
    ValueError: the number of seeds is wrong, or a seed is out of range.
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
  """Returns the state of the sampler before the first token.

  Args:
    model: the model that has read the rows.
    state: the state of B rows.
    seeds: int32 [n], for the first rows; the other rows repeat them.
    seen: bool [B, num_ids], the ids that have occurred; None if they do not
      matter.
  """
  keys = jax.vmap(jax.random.key)(np.resize(seeds, len(state.position)))
  # On the devices of later sampler states: otherwise the loop compiles twice.
  return model.commit(decode.SamplerState(keys, jnp.int32(0), seen))


def run(
    model: Model, state: DecodeState, sampler: decode.SamplerState, **how: Any
) -> tuple[decode.DecodedTokens, DecodeState, decode.SamplerState]:
  """Samples tokens and reads them.

  Args:
    model: the model that reads.
    state: the state before. It is updated in place and must not be used again,
      like `sampler`.
    sampler: see `decode.SamplerState`.
    how: see `arguments`.

  Returns:
    the sampled tokens, on the host, and the state and the sampler after them.
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
  """Returns the arguments of `decode.decode`.

  Args:
    model, state, sampler: see `run`.
    tokens, least, rows, may_end: see `decode.StopRule`; `may_end` has an entry
      for each id that may be sampled.
    sampling, check_every: see `decode.decode`.
  """
  until = decode.StopRule(np.int32(tokens), np.int32(least), rows, may_end)
  start = state.logits, state.states, sampler
  return (model.merge, model.served, *start, until), {
      'num_ids': len(may_end),
      'sampling': sampling,
      'check_every': check_every,
  }
