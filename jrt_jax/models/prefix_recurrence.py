"""A recurrence whose state has read the whole prefix before the first token."""

from collections.abc import Sequence
import functools
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from jrt_jax.models import parallel
from jrt_jax.models.context import Context
from jrt_jax.models.recurrence import convolve
from jrt_jax.models.recurrence import Operands
from jrt_jax.models.recurrence import recur
from jrt_jax.models.recurrence import Recurrence
from jrt_jax.models.short_conv import HeadsConv
import pallas_kernels

# For each pass over the prefix, whether it goes from the last token to the first,
# by `config.model.gdn.prefix_passes`.
PASSES = {'forward': (False,), 'reversed': (True,), 'both': (False, True)}


class PrefixRecurrence(Recurrence):
  """Reads the prefix with weights of its own, then all tokens causally.

  The keys and values of the prefix, and how much each of its tokens erases and
  leaves, have their own projections and convolutions, those of the encoder. With
  them the recurrence reads the prefix in one or two passes. From the state that
  this leaves it reads all tokens, those of the prefix as well. So every position
  sees the whole prefix.

  The convolutions of the encoder run in the order of the text, whatever the
  direction of a pass, and begin anew with each prefix.
  """

  passes: tuple[bool, ...] = PASSES['forward']
  prefix_is_sum = False  # tokens that are read later make earlier ones decay

  def _prefix_inputs(
      self, x: jax.Array
  ) -> tuple[tuple[HeadsConv, jax.Array], ...]:
    """As `_inputs`, of the encoder."""
    raise NotImplementedError

  def _prefix_operands(
      self, x: jax.Array, *convolved: jax.Array
  ) -> tuple[jax.Array | None, ...]:
    """As `_operands`, of the encoder and without queries."""
    raise NotImplementedError

  def _recur(self, operands, x, context, memory):
    if not context.prefix_capacity:
      return super()._recur(operands, x, context, memory)
    if context.documents_in_prefix:
      raise ValueError(
          'prefix_len must be int32 [B] in a model with prefix_gdn or'
          ' prefix_mamba2 layers: what these keep of several documents does not'
          f' add up, got {context.documents_in_prefix} documents in each row'
      )
    first, mask = context.first(context.prefix_capacity), context.in_prefix()
    of_prefix, _ = self._encode(x[:, : first.length], first)
    if context.prefix_mask is not None and context.segment_ids is not None:
      return self._recur_by_document(operands, of_prefix, mask, context, memory)
    for is_reversed in self.passes:
      memory = _write(
          of_prefix, mask, memory, is_reversed, context.sequence_axes
      )
    return super()._recur(operands, x, context, memory)

  def _recur_by_document(self, operands, of_prefix, mask, context, memory):
    """As `_recur`, where each document of a row may have a prefix.

    It is one row of passes and tokens, sorted by document: the state starts anew
    with the first pass over the prefix of the next document.
    """
    (B, P), L = mask.shape, context.length
    ids = context.segment_ids
    token = context.mask
    if token is None:
      token = jnp.ones((B, L), bool)
    # The queries of a pass do not matter.
    one_pass = Operands(of_prefix[0], *of_prefix), ids[:, :P], mask
    parts = [
        jax.tree.map(lambda x: jnp.flip(x, 1), one_pass) if turn else one_pass
        for turn in self.passes
    ] + [(operands, ids, token)]
    stages = np.repeat(range(len(parts)), [P] * len(self.passes) + [L])
    joined = jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *parts)
    order = jnp.argsort(joined[1] * len(parts) + stages, axis=1, stable=True)
    operands, ids, mask = jax.tree.map(lambda x: _take(x, order), joined)
    y, memory = recur(operands, ids, mask, memory)
    place = jnp.argsort(order, axis=1)[:, -L:]
    return _take(y, place), memory

  def read_prefix(
      self,
      x: jax.Array,
      mask: jax.Array,
      state: Any,
      sequence_axes: Sequence[str] = (),
  ) -> Any:
    """See `mixer.PrefixMixer`."""

    def enter(tails, block):
      x, mask = block
      _, following = self._encode(x, Context(*mask.shape, mask=mask), tails)
      return following, tails

    # What the convolutions remember before each block. Where a block is not
    # full, no tokens follow.
    inputs = self._prefix_inputs(x[0])
    reach = len(inputs[0][0].kernel) - 1
    nothing = tuple(conv.empty(len(u), u.dtype) for conv, u in inputs)
    B, C = mask.shape[1:]
    at = jnp.broadcast_to(jnp.arange(max(C - reach, 0), C), (B, min(reach, C)))
    ends = jax.vmap(lambda x: parallel.take(x, at, sequence_axes))(x)
    _, tails = lax.scan(enter, nothing, (ends, mask[:, :, -reach:]))

    def read(memory, block, is_reversed):
      x, mask, tails = block
      context = Context(*mask.shape, mask=mask, sequence_axes=sequence_axes)
      operands, _ = self._encode(x, context, tails)
      return _write(operands, mask, memory, is_reversed, sequence_axes), None

    memory = state.memory
    for is_reversed in self.passes:
      memory, _ = lax.scan(
          functools.partial(read, is_reversed=is_reversed),
          memory,
          (x, mask, tails),
          reverse=is_reversed,
      )
    return state._replace(memory=memory)

  def _encode(self, x, context, tails=()):
    """Returns the operands of a part of the prefix, and the next tails."""
    convolved, tails = convolve(self._prefix_inputs(x), context, tails)
    return self._prefix_operands(x, *convolved), tails


def _take(x, index):
  """Takes positions [B, T] of [B, L, ...]."""
  index = jnp.expand_dims(index, [*range(2, x.ndim)])
  return jnp.take_along_axis(x, index, axis=1)


def _write(operands, mask, memory, is_reversed, sequence_axes=()):
  """Returns the state [B, H, D, V] after a pass over tokens [B, L].

  Where devices divide the positions, they exchange them to reverse rows.
  """
  if is_reversed:
    flip = lambda x: jnp.flip(x, axis=1)
    operands, mask = jax.tree.map(flip, (operands, mask))
  return pallas_kernels.gated_delta_rule_state(
      *operands,
      initial_state=memory,
      mask=mask,
      batch_axes=parallel.BATCH_AXES,
      head_axes=parallel.HEAD_AXES,
      sequence_axes=sequence_axes,
  )
