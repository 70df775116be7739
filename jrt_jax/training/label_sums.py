"""Losses of labels by what they are labels of: their weights, sums and means."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jrt_jax.data.objectives import MASKED_TOKEN
from jrt_jax.data.objectives import NEXT_TOKEN
from jrt_jax.training.loss import TokenLosses

# The losses by their names in metrics, with their value in `supervision`.
LOSSES = {'next_token': NEXT_TOKEN, 'masked_token': MASKED_TOKEN}


def means(sums: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the mean nats and the accuracy of each loss; 0 without labels."""
  result = {}
  for name in (*LOSSES, 'recall'):
    if f'{name}_count' not in sums:  # training has no sums of recall
      continue
    count = jnp.maximum(sums[f'{name}_count'], 1)
    result[f'{name}_loss'] = sums[f'{name}_nll'] / count
    result[f'{name}_accuracy'] = sums[f'{name}_correct'] / count
  return result


def sums(
    losses: TokenLosses, batch: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
  """Returns float32 sums over the labels of a batch, for `means`.

  Args:
    losses: of every position [B, L].
    batch: has `supervision`, and may have `recallable`, bool [B, L].
  """
  sums = {}
  for name, kind in LOSSES.items():
    sums |= _over(name, losses, batch['supervision'] == kind)
  if 'recallable' in batch:
    sums |= _over('recall', losses, batch['recallable'])
  return sums


def _over(name, losses, chosen):
  """Returns the sums for `means` over the labels `chosen`, bool [B, L]."""
  return {
      f'{name}_nll': jnp.sum(losses.nll * chosen),
      f'{name}_correct': jnp.sum(losses.correct & chosen, dtype=jnp.float32),
      f'{name}_count': jnp.sum(chosen, dtype=jnp.float32),
  }


def weights(supervision: jax.Array, mlm_weight: float) -> jax.Array:
  """Returns the weight of each label in the loss, float32 [B, L]."""
  total = {'next_token': 1.0, 'masked_token': mlm_weight}
  weights = jnp.zeros(supervision.shape, jnp.float32)
  for name, kind in LOSSES.items():
    is_kind = supervision == kind
    count = jnp.maximum(jnp.sum(is_kind), 1)
    weights = jnp.where(is_kind, total[name] / count, weights)
  return weights
