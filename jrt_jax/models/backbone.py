"""A language model as training computes it: embed, mix, normalise, predict."""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import nnx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from configs import base
from jrt_jax.cost import mixers
from jrt_jax.models import layers
from jrt_jax.models import parallel
from jrt_jax.models.block import Block
from jrt_jax.models.context import of_rows


class Backbone(nnx.Module):
  """A stack of residual blocks with tied embeddings.

  A row may start with a prefix. In `pla` layers every position sees the whole
  prefix; everything else is causal.

  Args:
    config: `config.model` of a run (`configs/base.py` describes its keys).
    rngs: random keys for the initial weights.

  Raises:
    ValueError: a value of the config is impossible.
  """

  def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
    base.RANGES['model'].check('config.model', config)
    build = layers.make_build(
        width=config['width'],
        num_layers=len(config['mixers']),
        dtype=config['dtype'],
        residual_dtype=config['residual_dtype'],
        norm_eps=config['norm_eps'],
        init_std=config['init_std'],
        rngs=rngs,
    )
    multiple = config['vocab_multiple']
    self.embedding = nnx.Embed(
        -(-config['vocab_size'] // multiple) * multiple,
        config['width'],
        embedding_init=build.init,
        rngs=rngs,
    )
    self.layers = nnx.List(
        [Block(build, mixer, config) for mixer in config['mixers']]
    )
    self.final_norm = build.norm()
    self.residual_dtype = jnp.dtype(config['residual_dtype'])
    self.rounded_table = nnx.data(None)  # see `functional.ROUNDED_TABLE`
    self.vocab_size = config['vocab_size']
    self.pad_mask = config['pad_mask']
    self.reach = mixers.reach(config)

  def hidden(
      self,
      tokens: jax.Array,
      *,
      prefix_len: jax.Array | None = None,
      prefix_capacity: int | None = None,
      segment_ids: jax.Array | None = None,
      prefix_mask: jax.Array | None = None,
      mask: jax.Array | None = None,
  ) -> jax.Array:
    """Returns the normalised activations [B, L, E] of tokens [B, L].

    Args:
      tokens: int32 [B, L].
      prefix_len: int32 [B], how many of the first positions are prefix,
        including padding before it; None: 0. Or int32 [B, N], the lengths of N
        documents that are the prefix, see `Context.documents_in_prefix`.
      prefix_capacity: P, an upper bound of `prefix_len`, or of the sum of the
        lengths of documents; a smaller one costs less. None: L, and also where devices divide the positions of rows: each
        then reads its own part of the prefix.
      segment_ids: int32 [B, L], packed documents: a new one starts where the id
        changes between two tokens. A prefix of `prefix_len` tokens must end in
        the first document.
      prefix_mask: bool [B, L], instead of `prefix_len`: which tokens are prefix
        of their own documents, so that each document may have a prefix. These
        are the first tokens of a document, before position `prefix_capacity`.
      mask: bool [B, L], False at padding, which may be on either side of the
        tokens of a row.
    """
    context = of_rows(
        tokens.shape,
        prefix_len,
        prefix_capacity,
        segment_ids,
        mask,
        prefix_mask=prefix_mask,
        pad_mask=self.pad_mask,
        sequence_axes=parallel.sequence_axes(tokens.shape[1]),
    )
    x = self.embed(tokens, (parallel.BATCH_AXES, context.sequence_axes))
    for layer in self.layers:
      x = layer(x, context)
    return self.final_norm(x)

  def logits(self, hidden: jax.Array) -> jax.Array:
    """Maps [..., E] to float32 [..., vocab_size]."""
    table = self.rounded_table
    if table is None:
      table = self.embedding.embedding[...][: self.vocab_size]
    return jnp.einsum(
        '...e,ve->...v',
        hidden,
        table.astype(hidden.dtype),
        preferred_element_type=jnp.float32,
    )

  def __call__(self, tokens: jax.Array, **context: Any) -> jax.Array:
    """Returns float32 logits [B, L, vocab_size]; for arguments see `hidden`."""
    return self.logits(self.hidden(tokens, **context))

  def embed(
      self,
      tokens: jax.Array,
      axes: Sequence[Sequence[str] | None] = (parallel.BATCH_AXES,),
  ) -> jax.Array:
    """Maps int32 [...] to [..., E], the residual stream before the first layer.

    `axes` are the mesh axes that divide the axes of the result.

    Raises:
      ValueError: an id, also of padding, is not in the vocabulary. Under `jit`
        values are unknown, and the caller must check them.
    """
    _check_ids(tokens, self.vocab_size)
    # Otherwise XLA would divide the activations like the columns of the table.
    table = parallel.lay(self.embedding.embedding[...], (parallel.HEAD_AXES,))
    x = jnp.take(table, tokens, axis=0).astype(self.residual_dtype)
    return parallel.lay(x, axes)


def _check_ids(tokens, vocab_size):
  """Raises ValueError for other ids, whose rows of the table are untrained."""
  if isinstance(tokens, jax.core.Tracer):
    return
  ids = np.asarray(tokens)
  if unknown := ids[(ids < 0) | (ids >= vocab_size)].tolist():
    raise ValueError(f'tokens must lie in [0, {vocab_size}), got {unknown[0]}')
