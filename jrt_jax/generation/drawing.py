"""Draws tokens after what was read: the loop on the device, and its start."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.generation.model import Model
from jrt_jax.generation.reading import Reading
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
    reading: Reading,
    seeds: Sequence[int],
    seen: np.ndarray | None,
) -> decode.Draws:
  """Returns what the first draws after `reading` depend on.

  Args:
    model: that has read.
    reading: of B rows.
    seeds: int32 [n] of the first rows; others draw with the same again.
    seen: bool [B, num_ids], which ids have occurred; None: it does not matter.
  """
  keys = jax.vmap(jax.random.key)(np.resize(seeds, len(reading.position)))
  # Where later draws are, or the loop would be compiled for both.
  return model.laid(decode.Draws(keys, jnp.int32(0), seen))


def draw(
    model: Model, reading: Reading, draws: decode.Draws, **how: Any
) -> tuple[decode.Drawn, Reading, decode.Draws]:
  """Draws tokens and reads them.

  Args:
    model: that reads.
    reading: what was read before. Its states are updated where they are: it is
      gone, and so are `draws`.
    draws: see `decode.Draws`.
    how: see `arguments`.

  Returns:
    what was drawn, on the host; and the reading and the draws after it.
  """
  args, options = arguments(model, reading, draws, **how)
  with model.on_mesh():
    drawn, logits, states, draws = decode.decode(*args, **options)
  drawn = jax.device_get(drawn)
  after = reading._replace(
      logits=logits, states=states, position=reading.position + drawn.count
  )
  return drawn, after, draws


def arguments(
    model: Model,
    reading: Reading,
    draws: decode.Draws,
    *,
    tokens: int,
    least: int = 0,
    rows: np.ndarray,
    may_end: np.ndarray,
    sampling: Sampling,
    between_looks: int = decode.BETWEEN_LOOKS,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
  """Returns what `decode.decode` is called with.

  Args:
    model, reading, draws: see `draw`.
    tokens, least, rows, may_end: see `decode.Until`; `may_end` has an entry for
      each id that may be drawn.
    sampling, between_looks: see `decode.decode`.
  """
  until = decode.Until(np.int32(tokens), np.int32(least), rows, may_end)
  state = reading.logits, reading.states, draws
  return (model.merge, model.served, *state, until), {
      'num_ids': len(may_end),
      'sampling': sampling,
      'between_looks': between_looks,
  }
