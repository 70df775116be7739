"""How long the prefixes of training examples are on average."""

import numpy as np

from jrt_jax.data import examples
from jrt_jax.data import packings
from jrt_jax.data import splits
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.prefix import fitting
from jrt_jax.prefix import policies


def mean(split: splits.Split, recipe: examples.Recipe) -> float:
  """Returns the mean prefix length in tokens.

  It is measured on a sample if documents are separated.

  Args:
    split: the training split.
    recipe: what its examples share.
  """
  prefix, L = recipe.prefix, recipe.sequence_length
  if isinstance(split, split_lib.Split):
    rng = np.random.default_rng(0)
    return float(policies.lengths(split.prompts(), prefix, L, rng).mean())
  packing = packings.PACKINGS[recipe.packing]
  if not packing.separates:
    return policies.mean_prefix(prefix, L)
  windows = fitting.sample_windows(split, L)

  def in_row(row):
    label = row[-1:]  # of the last token; it is not prefix
    packed = packing.divide(np.concatenate([row, label]), recipe.eos_id)
    texts = (piece.text for piece in packed.pieces)
    return sum(policies.mean_prefix(prefix, len(text)) for text in texts)

  def mean_of(rows):
    return np.mean([in_row(row) for row in rows])

  once, again = mean_of(windows), 0.0
  if recipe.repeat:
    again = mean_of([packings.repeated(x, recipe.eos_id) for x in windows])
  return float((1 - recipe.repeat) * once + recipe.repeat * again)
