"""Reads prompts of different lengths, block by block, into states."""

from collections.abc import Callable, Sequence
import functools
import itertools
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from jrt_jax.cost import layout
from jrt_jax.generation import sizes
from jrt_jax.generation.model import Model
from jrt_jax.generation.pieces import Piece
from jrt_jax.reporting import units
from jrt_jax.runtime import memory


class Reading(NamedTuple):
  """What B rows remember of all they have read, and what it makes likely."""

  logits: jax.Array  # float32 [B, V], of the next token
  states: tuple[Any, ...]  # of the layers; leaves are [B, ...]
  position: jax.Array  # int32 [B], tokens that were read, without padding
  prefix: jax.Array  # int32 [B], how many of these as prefix


def read(
    model: Model,
    rows: Sequence[Sequence[Piece]],
    *,
    after: Reading | None = None,
    room: int = 0,
    tell: Callable[[str], None] | None = None,
) -> Reading:
  """Reads the pieces of each row in order, all rows at once.

  What a row reads does not depend on the other rows. Memory does not depend on
  the number of tokens, but for caches of `attention` layers and prefixes longer
  than the model's, which are read layer by layer. Rows are filled up to few
  lengths, and so are caches: what is compiled grows with their logarithm.

  Args:
    model: that reads.
    rows: pieces for each row, or none. Each number of rows is compiled for.
    after: what the rows have read before; it stays valid.
    room: tokens to be decoded afterwards, for caches of `attention` layers.
    tell: is told what a prefix longer than the model's takes, before it is
      read. None: stderr.

  Raises:
    ValueError: a prefix longer than the model's comes after earlier tokens.
  """
  longest = max(sum(len(piece.tokens) for piece in row) for row in rows)
  slots = None
  if model.grows:
    slots = sizes.slots_for(_slots_used(model, after) + longest + room)
  long = np.array([any(_is_long(model, piece) for piece in r) for r in rows])
  if not long.any():
    with model.on_mesh():
      return _read_blocks(model, rows, after, slots)
  if after is not None or any(len(rows[b]) > 1 for b in np.flatnonzero(long)):
    raise ValueError(
        'a prefix longer than that of the model must be read first and alone'
    )
  tell = tell or functools.partial(print, file=sys.stderr, flush=True)
  with model.on_mesh():
    return laid(model, _read_parts(model, rows, long, slots, tell))


def choose(rows: np.ndarray, new: Reading, old: Reading) -> Reading:
  """Takes bool [B] `rows` of `new`, and the others of `old`."""
  B = len(rows)
  return take([new, old], np.arange(B) + np.where(rows, 0, B))


@jax.jit
def take(readings: Sequence[Reading], index: np.ndarray) -> Reading:
  """Takes rows of several readings, as if they were one after the other."""
  return jax.tree.map(lambda *x: jnp.concatenate(x)[index], *readings)


def laid(model: Model, reading: Reading) -> Reading:
  """Commits what was read to its devices, or programs would compile anew."""
  mixers = model.config['model']['mixers']
  states = tuple(
      model.laid(state, layout.STATES[mixer])
      for mixer, state in zip(mixers, reading.states)
  )
  return model.laid(reading._replace(states=()))._replace(states=states)


def state_bytes(reading: Reading) -> int:
  """Returns the bytes that each row keeps for decoding."""
  leaves = jax.tree.leaves(reading.states)
  return sum(x.nbytes for x in leaves) // len(reading.position)


def _is_long(model, piece):
  return piece.is_prefix and len(piece.tokens) > model.block


def _read_parts(model, rows, long, slots, tell):
  """Reads bool [B] `long` rows layer by layer, and the others in blocks."""
  whole, others = (
      [rows[b] for b in np.flatnonzero(at)] for at in (long, ~long)
  )
  n = model.replicas
  parts = [
      _read_whole(model, sizes.with_empty(whole, n), slots, tell),
      _read_blocks(model, sizes.with_empty(others, n), None, slots),
  ]
  # The rows of the parts, in the order in which they were given.
  before = sizes.filled_rows(len(whole), n)
  place = np.where(long, np.cumsum(long) - 1, before + np.cumsum(~long) - 1)
  return take(parts, place)


def _read_blocks(model, rows, reading, slots):
  """Reads block after block; a row that has no more of them waits."""
  if reading is None:
    reading = nothing(model.merge, model.served, len(rows), slots)
  else:
    # A copy, which is updated in place.
    reading = take([laid(model, reading)], np.arange(len(rows)))
    if slots:
      states = _with_room(model, reading.states, slots)
      reading = reading._replace(states=states)
  reading = laid(model, reading)
  batches = divided(model, rows)
  progress = tqdm.tqdm(
      total=sum(batch.longest for batch in batches),
      desc='reading',
      unit='tok',
      unit_scale=True,
      delay=1,
      leave=False,
      disable=None,
  )
  with progress as bar:
    for batch in batches:
      reading = _read(model.merge, model.served, batch, reading)
      if len(batches) > 1:
        jax.block_until_ready(reading.logits)
      bar.update(batch.longest)
  return reading


class Batch(NamedTuple):
  """Pieces of B rows, filled to C tokens."""

  tokens: np.ndarray  # int32 [B, C]
  mask: np.ndarray  # bool [B, C], which are tokens
  unzeroed: np.ndarray  # bool [B, C], False at padding that weighs
  prefix_len: np.ndarray | None  # int32 [B]; None: no piece is prefix

  @property
  def longest(self) -> int:
    """Of the pieces, how many tokens the longest has."""
    return int(self.mask.sum(axis=1).max())


def divided(model: Model, rows: Sequence[Sequence[Piece]]) -> list[Batch]:
  """Returns what is read at once, one after the other: a block of each row."""
  block = model.block
  return [
      _batch(step, block)
      for step in itertools.zip_longest(*(_split(row, block) for row in rows))
  ]


def _split(row, block):
  """Cuts the pieces of a row into blocks."""
  return [
      piece._replace(tokens=piece.tokens[i : i + block])
      for piece in row
      for i in range(0, len(piece.tokens), block)
  ]


def _batch(step, block):
  longest = max(len(piece.tokens) for piece in step if piece)
  shape = len(step), min(block, sizes.filled_length(longest))
  tokens, prefix_len = np.zeros(shape, np.int32), np.zeros(len(step), np.int32)
  mask, unzeroed = np.zeros(shape, bool), np.ones(shape, bool)
  for b, piece in enumerate(step):
    if piece is None:
      continue
    n = len(piece.tokens)
    tokens[b, :n] = piece.tokens
    mask[b, :n] = True
    unzeroed[b, : piece.padding] = False
    prefix_len[b] = n if piece.is_prefix else 0
  # Without a prefix a cheaper program reads.
  return Batch(tokens, mask, unzeroed, prefix_len if prefix_len.any() else None)


@functools.partial(jax.jit, static_argnames=('merge', 'rows', 'slots'))
def nothing(merge, params, rows, slots):
  """Returns what `rows` rows have read before their first token.

  Args:
    merge, params: of a `Model`.
    rows: B.
    slots: of caches that grow; None without any.
  """
  model = merge(params)
  count = jnp.zeros(rows, jnp.int32)
  logits = jnp.zeros((rows, model.vocab_size), jnp.float32)
  states = model.initial_states(rows, state_capacity=slots)
  return Reading(logits, states, count, count)


@functools.partial(jax.jit, static_argnames='merge', donate_argnames='reading')
def _read(merge, params, batch, reading):
  logits, states = merge(params).prefill(
      batch.tokens,
      mask=batch.mask,
      unzeroed=batch.unzeroed,
      prefix_len=batch.prefix_len,
      states=reading.states,
  )
  count = (batch.mask & batch.unzeroed).sum(axis=1, dtype=jnp.int32)
  prefix = 0 if batch.prefix_len is None else count * (batch.prefix_len > 0)
  return Reading(
      jnp.where(count[:, None] > 0, logits, reading.logits),
      states,
      reading.position + count,
      reading.prefix + prefix,
  )


def _read_whole(model, rows, slots, tell):
  """Reads rows of one piece, or none, whose every token is prefix."""
  rows = [row[0].tokens if row else () for row in rows]
  longest = max(map(len, rows))
  shape = len(rows), model.block * sizes.filled(-(-longest // model.block))
  tokens, mask = np.zeros(shape, np.int32), np.zeros(shape, bool)
  for b, row in enumerate(rows):
    tokens[b, : len(row)] = row
    mask[b, : len(row)] = True
  program = _prefill_all.lower(
      model.merge, model.served, tokens, mask, model.block, slots
  ).compile()
  tell(
      f'a prefix of {longest:,} tokens is read layer by layer: it takes'
      f' {units.size(memory.needed(program))}, weights included'
  )
  logits, states = program(model.served, tokens, mask)
  count = jnp.asarray([len(row) for row in rows], jnp.int32)
  return Reading(logits, states, count, count)


@functools.partial(jax.jit, static_argnames=('merge', 'block', 'slots'))
def _prefill_all(merge, params, tokens, mask, block, slots):
  return merge(params).prefill_all(
      tokens, mask=mask, block=block, state_capacity=slots
  )


def _slots_used(model, reading):
  """The most slots that a row has filled: padding that weighs is in them."""
  if reading is None:
    return 0
  layer = model.config['model']['mixers'].index('attention')
  return int(reading.states[layer].count.max())


def _with_room(model, states, slots):
  """Adds empty slots to the caches of `attention` layers."""

  def grown(mixer, state):
    if mixer != 'attention' or state.k.shape[1] >= slots:
      return state
    more = [(0, 0), (0, slots - state.k.shape[1]), (0, 0), (0, 0)]
    return state._replace(k=jnp.pad(state.k, more), v=jnp.pad(state.v, more))

  mixers = model.config['model']['mixers']
  return tuple(map(grown, mixers, states))
