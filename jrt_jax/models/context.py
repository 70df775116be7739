"""What a mixer knows about its input rows, apart from their activations."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrt_jax.models import parallel


class Context(NamedTuple):
  """The prefix, the documents and the padding of B rows of L positions.

  The tokens of a row are contiguous; padding may be on either side.
  """

  batch: int  # B
  length: int  # L
  prefix_capacity: int = 0  # P, the longest prefix that the batch may have
  prefix_len: jax.Array | None = None  # int32 [B]; None: P for every row
  # Bool [B, L], which first tokens of each document are its prefix, instead of
  # prefix_len; None: only the first document of a row has a prefix.
  prefix_mask: jax.Array | None = None
  # Int32 [B, L], the number of each document, from 0; None: one document.
  segment_ids: jax.Array | None = None
  mask: jax.Array | None = (
      None  # bool [B, L], False at padding; None: no padding
  )
  # Bool [B, L]: where False, keys are zeroed before the feature map. They still
  # have a weight, as in `pla` layers of released models. None: no key is
  # zeroed.
  unzeroed: jax.Array | None = None
  # Tokens that the state of an `attention` layer has room for; None: L.
  state_capacity: int | None = None
  # N, if the prefix is N documents that do not see each other, and of which later
  # tokens see nothing but what `pla` layers keep (`documents.py`). Some may be
  # empty. `segment_ids` are then their numbers, and N after the prefix. 0: the
  # prefix is one text, which continues after it.
  documents_in_prefix: int = 0
  # Whether all tokens are of a prefix that the state has already.
  prefix_in_state: bool = False
  # Mesh axes among which devices divide the L positions; then P is L or 0.
  sequence_axes: tuple[str, ...] = ()

  def same_document(self, shift: int) -> jax.Array | None:
    """Bool [B, L]: is i - shift a token of the document of i? None: always."""
    see = None
    if self.segment_ids is not None:
      see = _shifted(self.segment_ids, shift) == self.segment_ids
    if self.mask is not None:
      token = _shifted(self.mask, shift)
      see = token if see is None else see & token
    return see

  def in_prefix(self) -> jax.Array:
    """Bool [B, P], which of the first P positions are tokens of a prefix."""
    P, lengths = self.prefix_capacity, self.prefix_len
    see = jnp.ones((self.batch, P), bool)
    if lengths is not None:
      see = jnp.arange(P) < lengths[:, None]
    if self.segment_ids is not None and not self.documents_in_prefix:
      see &= self.segment_ids[:, :P] == 0  # the prefix is of the first document
    if self.prefix_mask is not None:
      see = self.prefix_mask[:, :P]
    return see if self.mask is None else see & self.mask[:, :P]

  def after_prefix(self) -> 'Context':
    """The same, but only tokens after the prefix have keys; without a prefix."""
    if self.prefix_in_state:
      return self._replace(mask=jnp.zeros((self.batch, self.length), bool))
    inside = self.in_prefix()
    fill = self.length - self.prefix_capacity
    mask = ~jnp.pad(inside, ((0, 0), (0, fill)))
    if self.mask is not None:
      mask &= self.mask
    return self._replace(
        prefix_capacity=0,
        prefix_len=None,
        prefix_mask=None,
        documents_in_prefix=0,
        mask=mask,
    )

  def first(self, length: int) -> 'Context':
    """The context of the first positions of each row, without a prefix."""
    cut = lambda x: None if x is None else x[:, :length]
    return Context(
        self.batch,
        length,
        segment_ids=cut(self.segment_ids),
        mask=cut(self.mask),
        unzeroed=cut(self.unzeroed),
        sequence_axes=self.sequence_axes if length == self.length else (),
    )

  def positions(self) -> jax.Array:
    """Int32 [B, L], positions counted from the first token of each document."""
    index = jnp.broadcast_to(jnp.arange(self.length), (self.batch, self.length))
    same = self.same_document(1)
    if same is None:
      return index
    starts = jnp.where(same, 0, index)
    return index - parallel.running_maximum(starts, self.sequence_axes)

  def document_length(self) -> jax.Array:
    """Int32 [B], length of the last document of each row; 0 without tokens."""
    length = self.at_last(self.positions()) + 1
    if self.mask is None:
      return length
    return jnp.where(self.mask.any(axis=1), length, 0)

  def last(self) -> jax.Array:
    """Int32 [B], index of the last token of each row; L - 1 without tokens."""
    if self.mask is None:
      return jnp.full(self.batch, self.length - 1)
    return self.length - 1 - jnp.argmax(self.mask[:, ::-1], axis=1)

  def at_last(self, x: jax.Array) -> jax.Array:
    """Maps [B, L, ...] to [B, ...], the value at the last token of each row."""
    last = self.last()[:, None]
    return parallel.take(x, last, self.sequence_axes)[:, 0]


def of_rows(
    shape: tuple[int, int],
    prefix_len: jax.Array | None,
    prefix_capacity: int | None,
    segment_ids: jax.Array | None,
    mask: jax.Array | None,
    *,
    prefix_mask: jax.Array | None = None,
    pad_mask: str,
    sequence_axes: tuple[str, ...] = (),
) -> Context:
  """Returns the context of rows [B, L].

  Args:
    shape: B and L.
    prefix_len, prefix_capacity, segment_ids, mask, prefix_mask: see
      `Backbone.hidden`.
    pad_mask: `config.model.pad_mask`.
    sequence_axes: see `Context`.

  Raises:
    ValueError: the capacity exceeds L, there are a length and a mask, or
      segments where the prefix is several documents.
  """
  B, L = shape
  P = L if prefix_capacity is None else prefix_capacity
  if P > L:
    raise ValueError(
        f'prefix_capacity must not exceed the length of the rows ({L}),'
        f' got {P}'
    )
  if prefix_len is not None and prefix_mask is not None:
    raise ValueError('prefix_len must be None if prefix_mask is given')
  documents = 0
  if prefix_len is not None and prefix_len.ndim == 2:
    documents = prefix_len.shape[1]
    if segment_ids is not None:
      raise ValueError(
          'segment_ids must be None if prefix_len has the lengths of several'
          ' documents'
      )
    ends = jnp.cumsum(prefix_len, axis=1)
    prefix_len = ends[:, -1]
    segment_ids = (jnp.arange(L)[:, None] >= ends[:, None]).sum(axis=-1)
  elif segment_ids is not None:
    segment_ids = count_documents(segment_ids, mask, sequence_axes)
  # Released models ignore the mask of rows that are longer than the prefix.
  has_zeroed_keys = pad_mask == 'reference' and L <= P
  if sequence_axes and P:
    P = L  # to slice a divided axis, devices would have to exchange positions
  return Context(
      B,
      L,
      prefix_capacity=0 if prefix_len is prefix_mask is None else P,
      prefix_len=prefix_len,
      prefix_mask=prefix_mask,
      segment_ids=segment_ids,
      documents_in_prefix=documents,
      mask=mask if pad_mask == 'exclude' else None,
      unzeroed=mask if has_zeroed_keys else None,
      sequence_axes=sequence_axes,
  )


def count_documents(
    segment_ids: jax.Array,
    mask: jax.Array | None,
    sequence_axes: tuple[str, ...] = (),
) -> jax.Array:
  """Numbers documents: a new one starts where the ids of two tokens differ.

  Ids may recur. Padding belongs to the adjacent document, whatever its id.
  Returns int32 [B, L].
  """
  starts = segment_ids != _shifted(segment_ids, 1)
  starts &= jnp.arange(segment_ids.shape[1]) > 0
  if mask is not None:
    starts &= mask & _shifted(mask, 1)
  return parallel.running_sum(starts.astype(jnp.int32), sequence_axes)


def _shifted(x, shift):
  return jnp.pad(x, ((0, 0), (shift, 0)))[:, : x.shape[1]]
