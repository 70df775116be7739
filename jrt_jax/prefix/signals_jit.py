"""Entropies of the rows of a batch on the device that holds it.

They equal those of `signals.py` up to float32, from a sort and no table of the
vocabulary. Training measures with `signals.py`, on the host.
"""

import math

import jax
from jax import lax
import jax.numpy as jnp


def unigram_entropy(
    tokens: jax.Array, mask: jax.Array, *, miller_madow: bool = True
) -> jax.Array:
  """H(x_t) of each row's own counts, in bits.

  Args:
    tokens: int32 [B, L].
    mask: bool [B, L], False at padding.
    miller_madow: see `signals.unigram_entropy`.

  Returns:
    float32 [B].
  """
  entropy, distinct = jax.vmap(_entropy)((tokens,), mask)
  n = jnp.maximum(mask.sum(axis=1), 1)
  bias = jnp.maximum(distinct - 1, 0) / (2 * n * math.log(2))
  return entropy + miller_madow * bias


def conditional_entropy(tokens: jax.Array, mask: jax.Array) -> jax.Array:
  """H(x_t | x_{t-1}) of each row's own counts, in bits: float32 [B].

  Args:
    tokens: int32 [B, L].
    mask: bool [B, L], False at padding, which may stand on either side.
  """
  first, second = tokens[:, :-1], tokens[:, 1:]
  mask = mask[:, :-1] & mask[:, 1:]
  of_pairs, _ = jax.vmap(_entropy)((first, second), mask)
  of_first, _ = jax.vmap(_entropy)((first,), mask)
  return of_pairs - of_first


def _entropy(columns, mask):
  """The entropy of n masked tuples in bits, and how many differ."""
  n = mask.size
  padding, *columns = lax.sort((~mask, *columns), num_keys=1 + len(columns))
  differs = sum(x[1:] != x[:-1] for x in columns) > 0
  starts = jnp.concatenate([jnp.ones(1, bool), differs]) & ~padding
  run = jnp.where(padding, n, jnp.cumsum(starts) - 1)  # n: dropped
  counts = jax.ops.segment_sum(jnp.ones(n), run, num_segments=n)
  p = counts / jnp.maximum(mask.sum(), 1)
  return jax.scipy.special.entr(p).sum() / math.log(2), starts.sum()
