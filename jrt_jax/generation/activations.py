"""The activations after a layer, for texts that are read like prompts."""

from collections.abc import Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.generation import prefill
from jrt_jax.generation import sizes
from jrt_jax.generation.model import Model
from jrt_jax.generation.prompt_segments import Segment
from jrt_jax.models import parallel
from jrt_jax.models.context import Context


def of_layer(
    model: Model, rows: Sequence[Sequence[Segment]], layer: int
) -> list[np.ndarray]:
  """Returns the activations after a layer, float32 [n, E] for n tokens a row.

  They are those of `prefill.prefill`, computed block by block: apart from the
  result, memory does not grow with the length. One program serves all layers.

  Args:
    model: the model that reads.
    rows: the segments of each row.
    layer: 0 is the embedding, i the residual stream after i of the N layers,
      N + 1 the output of the last norm, from which the logits are computed.
  """
  rows = sizes.with_empty(rows, model.replicas)
  slots = None
  if model.grows:
    longest = max(sum(len(segment.tokens) for segment in row) for row in rows)
    slots = sizes.slots_for(longest)
  found = [[] for _ in rows]
  with model.on_mesh():
    start = prefill.empty_state(model.merge, model.served, len(rows), slots)
    states = prefill.commit(model, start).states
    for batch in prefill.block_batches(model, rows):
      x, states = _read(model.merge, model.served, batch, states, layer)
      real, x = batch.mask & batch.unzeroed, np.asarray(x)
      for own, x_row, real_row in zip(found, x, real):
        own.append(x_row[real_row])
  return [np.concatenate(own) for own in found]


@functools.partial(jax.jit, static_argnames='merge', donate_argnames='states')
def _read(merge, params, batch, states, layer) -> tuple[jax.Array, Any]:
  """Returns float32 [B, C, E], and the states after the batch."""
  model = merge(params)
  B, C = batch.tokens.shape
  context = Context(
      B,
      C,
      prefix_capacity=0 if batch.prefix_len is None else C,
      prefix_len=batch.prefix_len,
      mask=batch.mask,
      unzeroed=batch.unzeroed,
      sequence_axes=model.sequence_axes(C),
  )
  axes = parallel.BATCH_AXES, context.sequence_axes
  x = kept = model.embed(batch.tokens, axes)
  following = []
  for i, (block, state) in enumerate(zip(model.layers, states)):
    x, state = block.prefill(x, context, state)
    following.append(state)
    kept = jnp.where(layer == i + 1, x, kept)
  last = model.final_norm(x).astype(jnp.float32)
  kept = jnp.where(layer == len(model.layers) + 1, last, kept)
  return kept, tuple(following)
