"""The language model: reads prompts and text, and decodes."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jrt_jax.models import parallel
from jrt_jax.models.backbone import Backbone
from jrt_jax.models.context import Context
from jrt_jax.models.context import of_rows


class LanguageModel(Backbone):
  """A `Backbone` that keeps decode states."""

  def prefill(
      self,
      tokens: jax.Array,
      *,
      prefix_len: jax.Array | None = None,
      prefix_capacity: int | None = None,
      segment_ids: jax.Array | None = None,
      prefix_mask: jax.Array | None = None,
      mask: jax.Array | None = None,
      unzeroed: jax.Array | None = None,
      state_capacity: int | None = None,
      states: tuple[Any, ...] | None = None,
  ) -> tuple[jax.Array, tuple[Any, ...]]:
    """Reads prompts, or the tokens that follow after earlier ones.

    Args:
      tokens, prefix_len, prefix_capacity, segment_ids, prefix_mask, mask: see
        `hidden`; but `prefix_len` is int32 [B].
      unzeroed: bool [B, L]; where False, the keys of `pla` layers are zeroed
        but still have a weight, as padding has in released models.
      state_capacity: how many tokens of a document, including those of
        `decode_step`, the states of `attention` layers have room for. After
        more tokens the logits of a row are NaN. None: L. The size of other
        states is fixed.
      states: the states after earlier tokens. Then the tokens of each row must
        start at its first position. A row without tokens keeps its state, and
        its logits are meaningless. Positions in the prefix see each other and
        the earlier tokens, and later tokens see them.

    Returns:
      float32 logits [B, vocab_size] after the last token of each row, and the
      decode states, one entry for each layer.

    Raises:
      ValueError: a capacity does not fit the length of the rows; the prefix is
        several documents; or `states` are given with packed documents, or with
        padding as in released models.
    """
    context = of_rows(
        tokens.shape,
        prefix_len,
        prefix_capacity,
        segment_ids,
        mask,
        prefix_mask=prefix_mask,
        pad_mask=self.pad_mask,
        sequence_axes=self.sequence_axes(tokens.shape[1]),
    )
    L = context.length
    if context.documents_in_prefix:
      raise ValueError(
          'prefix_len must be int32 [B] here: read documents that do not see'
          ' each other with models.documents.read'
      )
    if states is not None and segment_ids is not None:
      raise ValueError('segment_ids must be None where states are given')
    if states is not None and mask is not None and self.pad_mask == 'reference':
      raise ValueError(
          "mask must be None where states are given and pad_mask='reference'"
      )
    # With a mask, the state may have room for the tokens without the padding.
    room = L if state_capacity is None or mask is not None else state_capacity
    if states is None and room < L:
      raise ValueError(
          f'state_capacity must be at least the length of the rows ({L}), got'
          f' {state_capacity}'
      )
    context = context._replace(state_capacity=state_capacity)
    if unzeroed is not None:
      context = context._replace(unzeroed=unzeroed)
    x, following = self._read(tokens, context, states)
    return self._last_logits(context.at_last(x)), following

  def initial_states(
      self, batch: int, *, state_capacity: int | None = None
  ) -> tuple[Any, ...]:
    """Returns the states of `batch` rows before their first token."""
    context = Context(batch, 1, state_capacity=state_capacity)
    x = jnp.zeros((batch, 1, self.embedding.features), self.residual_dtype)
    shapes = {}  # states depend on the mixer only: each is traced once
    for layer in self.layers:
      if layer.kind not in shapes:
        prefill = functools.partial(layer.prefill, context=context)
        shapes[layer.kind] = jax.eval_shape(prefill, x)[1]
    return tuple(
        jax.tree.map(jnp.zeros_like, shapes[layer.kind])
        for layer in self.layers
    )

  def prefill_all(
      self,
      tokens: jax.Array,
      *,
      mask: jax.Array,
      block: int,
      state_capacity: int | None = None,
  ) -> tuple[jax.Array, tuple[Any, ...]]:
    """Reads prompts of any length that are prefix as a whole.

    A `pla` layer needs the activations of the whole prompt before it computes
    its first output. Therefore layers are computed one after the other, each in
    blocks of tokens: apart from activations [B, L, E], memory does not grow
    with L.

    Args:
      tokens: int32 [B, L]; the tokens of each row start at its first position.
      mask: bool [B, L], False at padding.
      block: number of tokens of a row in a block.
      state_capacity: see `prefill`.

    Returns:
      See `prefill`.
    """
    B, L = tokens.shape
    axes = self.sequence_axes(block)
    x = self.embed_blocks(tokens, block)
    masks = split_blocks(mask, block)
    following = []
    states = self.initial_states(B, state_capacity=state_capacity or L)
    for layer, state in zip(self.layers, states, strict=True):
      x, state = layer.prefill_blocks(x, masks, state, axes)
      following.append(state)
    last = mask.sum(axis=1) - 1
    x = jax.vmap(lambda x: parallel.take(x, last[:, None] % block, axes))(x)
    x = x[last // block, jnp.arange(B), 0]
    return self._last_logits(x), tuple(following)

  def embed_blocks(self, tokens: jax.Array, block: int) -> jax.Array:
    """Maps int32 [B, L] to N blocks [N, B, C, E]; see `split_blocks`.

    Devices divide each block rather than the row: every block is then read by
    all of them.
    """
    axes = None, parallel.BATCH_AXES, self.sequence_axes(block)
    return self.embed(split_blocks(tokens, block), axes)

  def sequence_axes(self, length: int) -> tuple[str, ...]:
    """Returns the mesh axes that divide rows of `length` in generation.

    There are none where the part of a device would be shorter than a window or
    a convolution, or where a layer needs whole rows.
    """
    axes = parallel.sequence_axes(length)
    shape = jax.sharding.get_abstract_mesh().shape
    parts = math.prod(shape[axis] for axis in axes)
    return axes if length // parts >= self.reach else ()

  def decode_step(
      self, tokens: jax.Array, states: tuple[Any, ...]
  ) -> tuple[jax.Array, tuple[Any, ...]]:
    """Reads one token of each row, int32 [B]; returns the same as `prefill`."""
    x = self.embed(tokens)
    following = []
    for layer, state in zip(self.layers, states, strict=True):
      x, state = layer.step(x, state)
      following.append(state)
    return self._last_logits(x), tuple(following)

  def decode_steps(
      self, tokens: jax.Array, states: tuple[Any, ...]
  ) -> tuple[jax.Array, tuple[Any, ...]]:
    """Reads int32 [B, L] at once, with the result of L calls of `decode_step`.

    Returns:
      The normalised activations [B, L, E], for `logits`, and the decode states.
    """
    x, following = self._read(tokens, Context(*tokens.shape), states)
    return self.final_norm(x), following

  def _last_logits(self, x):
    """Returns logits of activations [B, E], with rows divided for sampling."""
    return parallel.lay(self.logits(self.final_norm(x)), (parallel.BATCH_AXES,))

  def _read(self, tokens, context, states):
    x = self.embed(tokens, (parallel.BATCH_AXES, context.sequence_axes))
    following = []
    for layer, state in zip(self.layers, states or [None] * len(self.layers)):
      x, state = layer.prefill(x, context, state)
      following.append(state)
    return x, tuple(following)


def split_blocks(x: jax.Array, block: int) -> jax.Array:
  """Maps [B, L] to N blocks [N, B, C], the last of which is padded."""
  x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % block)))
  return jnp.swapaxes(x.reshape(len(x), -1, block), 0, 1)
