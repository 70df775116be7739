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

from jrt_jax.generation.model import Model
from jrt_jax.generation.pieces import Piece
from jrt_jax.training import units

_ROOM = 256  # tokens by which caches grow, so that few shapes compile
_whole_programs = {}  # compiled, by all that they depend on


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
  than the model's, which are read layer by layer.

  Args:
    model: that reads.
    rows: pieces for each row; without `after` at least one.
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
    slots = -(-(_slots_used(model, after) + longest + room) // _ROOM) * _ROOM
  long = [any(_is_long(model, piece) for piece in row) for row in rows]
  if not any(long):
    return _read_blocks(model, rows, after, slots)
  if after is not None or any(len(rows[b]) > 1 for b in np.flatnonzero(long)):
    raise ValueError(
        'a prefix longer than that of the model must be read first and alone'
    )
  at = [np.flatnonzero(long), np.flatnonzero(np.logical_not(long))]
  tell = tell or functools.partial(print, file=sys.stderr, flush=True)
  whole = [rows[b][0].tokens for b in at[0]]
  parts = [_read_whole(model, whole, slots, tell)]
  if len(at[1]):
    parts.append(_read_blocks(model, [rows[b] for b in at[1]], None, slots))
  return _take(parts, np.argsort(np.concatenate(at)))


def choose(rows: np.ndarray, new: Reading, old: Reading) -> Reading:
  """Takes bool [B] `rows` of `new`, and the others of `old`."""
  B = len(rows)
  return _take([new, old], np.arange(B) + np.where(rows, 0, B))


def state_bytes(reading: Reading) -> int:
  """Returns the bytes that each row keeps for decoding."""
  leaves = jax.tree.leaves(reading.states)
  return sum(x.nbytes for x in leaves) // len(reading.position)


def filled_length(length: int) -> int:
  """To how many tokens rows are filled, so that few shapes compile."""
  return max(16, 1 << (length - 1).bit_length())


@jax.jit
def _take(readings, index):
  """Takes rows of several readings, as if they were one after the other."""
  return jax.tree.map(lambda *x: jnp.concatenate(x)[index], *readings)


def _is_long(model, piece):
  return piece.is_prefix and len(piece.tokens) > model.block


def _read_blocks(model, rows, reading, slots):
  """Reads block after block; a row that has no more of them waits."""
  rows = [_split(row, model.block) for row in rows]
  if reading is not None and slots:
    reading = reading._replace(states=_with_room(model, reading.states, slots))
  steps = list(itertools.zip_longest(*rows))
  progress = tqdm.tqdm(
      total=sum(map(_longest, steps)),
      desc='reading',
      unit='tok',
      unit_scale=True,
      delay=1,
      leave=False,
      disable=None,
  )
  with progress as bar:
    for step in steps:
      batch = _batch(step, model.block)
      reading = _read(model.merge, model.params, batch, reading, slots)
      if len(steps) > 1:
        jax.block_until_ready(reading.logits)
      bar.update(_longest(step))
  return reading


def _split(row, block):
  """Cuts the pieces of a row into blocks."""
  return [
      piece._replace(tokens=piece.tokens[i : i + block])
      for piece in row
      for i in range(0, len(piece.tokens), block)
  ]


def _longest(step):
  return max(len(piece.tokens) for piece in step if piece)


class _Batch(NamedTuple):
  """Pieces of B rows, filled to C tokens."""

  tokens: np.ndarray  # int32 [B, C]
  mask: np.ndarray  # bool [B, C], which are tokens
  unzeroed: np.ndarray | None  # bool [B, C], False at padding that weighs
  prefix_len: np.ndarray | None  # int32 [B]; None: no piece is prefix


def _batch(step, block):
  shape = len(step), min(block, filled_length(_longest(step)))
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
  return _Batch(
      tokens,
      mask,
      None if unzeroed.all() else unzeroed,
      prefix_len if prefix_len.any() else None,
  )


@functools.partial(jax.jit, static_argnames=('merge', 'slots'))
def _read(merge, params, batch, reading, slots):
  model = merge(params)
  logits, states = model.prefill(
      batch.tokens,
      mask=batch.mask,
      unzeroed=batch.unzeroed,
      prefix_len=batch.prefix_len,
      state_capacity=slots,
      states=None if reading is None else reading.states,
  )
  real = batch.mask if batch.unzeroed is None else batch.mask & batch.unzeroed
  count = real.sum(axis=1, dtype=jnp.int32)
  prefix = 0 if batch.prefix_len is None else count * (batch.prefix_len > 0)
  if reading is None:
    return Reading(logits, states, count, jnp.zeros_like(count) + prefix)
  return Reading(
      jnp.where(count[:, None] > 0, logits, reading.logits),
      states,
      reading.position + count,
      reading.prefix + prefix,
  )


def _read_whole(model, rows, slots, tell):
  """Reads rows, int32 [n] each, whose every token is prefix."""
  length = max(map(len, rows))
  length += -length % model.block
  tokens = np.zeros((len(rows), length), np.int32)
  for b, row in enumerate(rows):
    tokens[b, : len(row)] = row
  count = np.array([len(row) for row in rows], np.int32)
  arguments = model.params, tokens, np.arange(length) < count[:, None]
  key = model.merge, model.block, slots, tokens.shape
  if key not in _whole_programs:
    _whole_programs[key] = _whole_program(model, slots, *arguments)
  program = _whole_programs[key]
  sizes = program.memory_analysis()
  needed = (
      sizes.argument_size_in_bytes
      + sizes.output_size_in_bytes
      + sizes.temp_size_in_bytes
  )
  tell(
      f'a prefix of {max(count):,} tokens is read layer by layer: it takes'
      f' {units.size(needed)}, weights included'
  )
  logits, states = program(*arguments)
  return Reading(logits, states, jnp.asarray(count), jnp.asarray(count))


def _whole_program(model, slots, *arguments):
  """`prefill_all`, compiled."""

  @jax.jit
  def prefill(params, tokens, mask):
    return model.merge(params).prefill_all(
        tokens, mask=mask, block=model.block, state_capacity=slots
    )

  return prefill.lower(*arguments).compile()


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
