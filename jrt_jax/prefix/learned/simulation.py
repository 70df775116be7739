"""Simulated prompts whose best prefix is known, to test learning."""

import numpy as np

from jrt_jax.prefix.learned import trials

FRACTIONS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
COST = 0.3  # the cost of a full prefix; a right answer counts 1


def table(
    num_prompts: int, rng: np.random.Generator, *, length: int = 128
) -> trials.Table:
  """Draws prompts of different complexity, and the score of each prefix.

  A share c of the tokens is random, with c uniform; the others repeat. A prefix
  must cover the share c of the prompt, give or take a tenth; a shorter one
  lowers the probability of a right answer from 0.9 to 0.1.
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
