"""Prompts whose right prefix is known, to see whether learning finds it."""

import numpy as np

from jrt_jax.prefix.learned import trials

FRACTIONS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
COST = 0.3  # of a full prefix, where an answer is worth 1


def table(
    num_prompts: int, rng: np.random.Generator, *, length: int = 128
) -> trials.Table:
  """Draws prompts of different complexity, and how each prefix answers them.

  A share c of the tokens, c uniform, is random; the others repeat. The prefix
  must reach c of the prompt, give or take a tenth of it; how often a prompt is
  answered falls from 0.9 to 0.1 where it does not.
  """
  c = rng.random((num_prompts, 1))
  repeated = np.arange(length) % 8
  drawn = rng.integers(8, 64, size=(num_prompts, length))
  is_drawn = rng.random(drawn.shape) < c
  needed = c + 0.1 * rng.standard_normal(c.shape)
  fractions = np.array(FRACTIONS)
  scores = 0.1 + 0.8 / (1 + np.exp((needed - fractions) / 0.05))
  return trials.Table(
      list(np.where(is_drawn, drawn, repeated)),
      fractions,
      scores,
      np.full(len(fractions), np.nan),
      length,
  )
