"""Packed documents with a prefix each, as documents without a prefix.

The state that the first token of a document reads has already read its whole
prefix. A causal row in which the prefix of a document stands before its tokens
therefore gives the same outputs and the same state:

    tokens of two documents    a b c d | x y
    their prefixes             a b     | x
    the causal row             a'b'a b c d | x'x y

a' has the key and the value of the prefix position a; its output is dropped.
Any implementation that keeps documents apart can compute this row, which has
L + P positions, in linear time.
"""

from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention.inputs import Inputs


class Places(NamedTuple):
  """Where the L tokens and the P prefix positions stand in a causal row.

  Attributes:
    token: int32 [B, L], the place of each token.
    prefix: int32 [B, P], the place of each prefix position; L + P if it is not
      prefix.
    source: int32 [B, L + P], the inverse: the token at each place, or L plus
      the prefix position; L + P at places that are empty, which come last.
  """

  token: jax.Array
  prefix: jax.Array
  source: jax.Array


def causal_rows(inputs: Inputs) -> tuple[Inputs, Places, jax.Array]:
  """Returns rows of L + P positions, and what `of_tokens` needs.

  Args:
    inputs: inputs with a `prefix_segment`.

  Returns:
    Inputs without any prefix, whose last state is that of the given inputs; the
    places; and how many positions the longest row has, int32 []. Beyond it,
    all positions are masked.
  """
  L = inputs.q.shape[1]
  places = _places(inputs)
  source = places.source
  both = lambda x, x_enc: jnp.concatenate([x, x_enc], axis=1)
  everything = both(places.token, places.prefix)
  is_empty = source == source.shape[1]
  segment = _taken(both(inputs.segment, inputs.prefix_segment), source)
  rows = Inputs(
      _moved(inputs.q, source, places.token),
      _moved(both(inputs.k, inputs.k_enc), source, everything),
      _moved(both(inputs.v, inputs.v_enc), source, everything),
      inputs.k_enc[:, :0],
      inputs.v_enc[:, :0],
      inputs.prefix_mask[:, :0],
      jnp.where(is_empty, inputs.segment[:, -1:], segment),
      _taken(both(inputs.mask, inputs.prefix_mask), source),
      inputs.state,
  )
  used = L + jnp.max(jnp.sum(inputs.prefix_mask, axis=1), initial=0)
  return rows, places, used


def of_tokens(y: jax.Array, places: Places) -> jax.Array:
  """Maps outputs of rows [B, L + P, H, V] to those of tokens [B, L, H, V]."""
  return _moved(y, places.token, places.source)


def _places(inputs):
  (B, L), P = inputs.segment.shape, inputs.prefix_mask.shape[1]
  segment, is_prefix = inputs.segment, inputs.prefix_mask
  index = jnp.arange(L)
  first = jnp.diff(segment, axis=1, prepend=-1) > 0
  last = jnp.diff(segment, axis=1, append=segment[:, -1:] + 1) > 0
  begin = lax.cummax(jnp.where(first, index, 0), axis=1)
  read = jnp.cumsum(is_prefix, axis=1, dtype=jnp.int32)
  so_far = jnp.pad(read, ((0, 0), (0, L - P)), mode='edge')
  # Prefix positions of this document and of earlier ones.
  whole = jnp.where(last, so_far, L)
  whole = lax.cummin(whole, axis=1, reverse=True)
  token = index + whole
  prefix = jnp.where(is_prefix, begin[:, :P] + read - 1, L + P)
  source = jnp.full((B, L + P), L + P)
  source = source.at[
      jnp.arange(B)[:, None], jnp.concatenate([token, prefix], axis=1)
  ].set(jnp.arange(L + P), mode='drop')
  return Places(token, prefix, source)


@jax.custom_vjp
def _moved(x, source, inverse):
  """Row b of the result has x[b, source[b, i]] at i, or 0 if there is none.

  No element is moved twice, so that the derivative moves everything back; that
  of an ordinary gather would add up at random places, which is slower.
  """
  del inverse
  return _taken(x, source)


def _taken(x, source):
  source = source.reshape(*source.shape, *[1] * (x.ndim - 2))
  return jnp.take_along_axis(x, source, axis=1, mode='fill', fill_value=0)


_moved.defvjp(
    lambda x, source, inverse: (_taken(x, source), (source, inverse)),
    lambda places, dy: (_moved(dy, *reversed(places)), None, None),
)
