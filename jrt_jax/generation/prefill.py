"""Prefill: reads prompts of different lengths, block by block, into states."""

from collections.abc import Callable, Sequence
import functools
import itertools
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.cost.mixers import MIXERS
from jrt_jax.generation import sizes
from jrt_jax.generation.model import Model
from jrt_jax.generation.prompt_segments import Segment
from jrt_jax.reporting import units
from jrt_jax.reporting.progress import progress_bar
from jrt_jax.runtime import memory


class DecodeState(NamedTuple):
  """The states of B rows after the tokens that they have read."""

  logits: jax.Array  # float32 [B, V], for the next token
  states: tuple[Any, ...]  # the states of layers; leaves are [B, ...]
  position: jax.Array  # int32 [B], tokens that were read, without padding
  prefix: jax.Array  # int32 [B], how many of these were prefix


def prefill(
    model: Model,
    rows: Sequence[Sequence[Segment]],
    *,
    after: DecodeState | None = None,
    room: int = 0,
    tell: Callable[[str], None] | None = None,
) -> DecodeState:
  """Reads the segments of each row in order, all rows at once.

  The result of a row does not depend on the other rows. Memory does not grow
  with the number of tokens, except for caches of `attention` layers and for
  prefixes longer than the model's, which are read layer by layer. Rows and
  caches are padded to few lengths, so that the number of compiled programs
  grows with the logarithm of the length.

  Args:
    model: the model that reads.
    rows: the segments of each row, possibly none. Each number of rows compiles.
    after: the state of the rows before; it stays valid.
    room: the number of tokens that will be decoded, for caches of `attention`
      layers.
    tell: receives a line about the memory of a prefix longer than the model's,
      before it is read. None: stderr.

  Raises:
    ValueError: a prefix longer than the model's comes after earlier tokens.
  """
  longest = max(sum(len(segment.tokens) for segment in row) for row in rows)
  slots = None
  if model.grows:
    slots = sizes.slots_for(_slots_used(model, after) + longest + room)
  long = np.array(
      [any(_is_long(model, segment) for segment in r) for r in rows]
  )
  if not long.any():
    with model.on_mesh():
      return _read_blocks(model, rows, after, slots)
  if after is not None or any(
      len(rows[b]) > 1 for b in np.flatnonzero(long).tolist()
  ):
    raise ValueError(
        'a prefix longer than that of the model must be read first and alone'
    )
  tell = tell or functools.partial(print, file=sys.stderr, flush=True)
  with model.on_mesh():
    return commit(model, _read_parts(model, rows, long, slots, tell))


def choose(rows: np.ndarray, new: DecodeState, old: DecodeState) -> DecodeState:
  """Takes bool [B] `rows` of `new`, and the others of `old`."""
  B = len(rows)
  return take([new, old], np.arange(B) + np.where(rows, 0, B))


@jax.jit
def take(states: Sequence[DecodeState], index: np.ndarray) -> DecodeState:
  """Takes rows of several states, numbered one state after the other."""
  return jax.tree.map(lambda *x: jnp.concatenate(x)[index], *states)


def commit(model: Model, state: DecodeState) -> DecodeState:
  """Commits a state to its devices, so that programs do not compile again."""
  mixers = model.config['model']['mixers']
  states = tuple(
      model.commit(layer_state, MIXERS[mixer].state_axes)
      for mixer, layer_state in zip(mixers, state.states)
  )
  return model.commit(state._replace(states=()))._replace(states=states)


def state_bytes(state: DecodeState) -> int:
  """Returns the bytes of the decode state of each row."""
  leaves = jax.tree.leaves(state.states)
  return sum(x.nbytes for x in leaves) // len(state.position)


def _is_long(model, segment):
  return segment.is_prefix and len(segment.tokens) > model.block


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
  # Restores the original order of the rows.
  before = sizes.filled_rows(len(whole), n)
  place = np.where(long, np.cumsum(long) - 1, before + np.cumsum(~long) - 1)
  return take(parts, place)


def _read_blocks(model, rows, state, slots):
  """Reads block after block; rows without further blocks are unchanged."""
  if state is None:
    state = empty_state(model.merge, model.served, len(rows), slots)
  else:
    # A copy, which is updated in place.
    state = take([commit(model, state)], np.arange(len(rows)))
    if slots:
      states = _with_room(model, state.states, slots)
      state = state._replace(states=states)
  state = commit(model, state)
  batches = block_batches(model, rows)
  with progress_bar(
      total=sum(batch.longest for batch in batches),
      desc='reading',
      unit='tok',
      unit_scale=True,
      leave=False,
  ) as bar:
    for batch in batches:
      state = _read(model.merge, model.served, batch, state)
      if len(batches) > 1:
        jax.block_until_ready(state.logits)
      bar.update(batch.longest)
  return state


class Batch(NamedTuple):
  """Segments of B rows, padded to C tokens."""

  tokens: np.ndarray  # int32 [B, C]
  mask: np.ndarray  # bool [B, C], which are tokens
  unzeroed: np.ndarray  # bool [B, C], False at padding that keeps a weight
  prefix_len: np.ndarray | None  # int32 [B]; None: no segment is prefix

  @property
  def longest(self) -> int:
    """The number of tokens of the longest segment."""
    return int(self.mask.sum(axis=1).max())


def block_batches(
    model: Model, rows: Sequence[Sequence[Segment]]
) -> list[Batch]:
  """Returns batches to read one after the other, each with a block of a row."""
  block = model.block
  return [
      _batch(step, block, model.parts)
      for step in itertools.zip_longest(*(_split(row, block) for row in rows))
  ]


def _split(row, block):
  """Cuts the segments of a row into blocks."""
  return [
      segment._replace(tokens=segment.tokens[i : i + block])
      for segment in row
      for i in range(0, len(segment.tokens), block)
  ]


def _batch(step, block, parts):
  longest = max(len(segment.tokens) for segment in step if segment)
  shape = len(step), min(block, sizes.filled_length(longest, parts))
  tokens, prefix_len = np.zeros(shape, np.int32), np.zeros(len(step), np.int32)
  mask, unzeroed = np.zeros(shape, bool), np.ones(shape, bool)
  for b, segment in enumerate(step):
    if segment is None:
      continue
    n = len(segment.tokens)
    tokens[b, :n] = segment.tokens
    mask[b, :n] = True
    unzeroed[b, : segment.padding] = False
    prefix_len[b] = n if segment.is_prefix else 0
  # Batches without a prefix use a cheaper program.
  return Batch(tokens, mask, unzeroed, prefix_len if prefix_len.any() else None)


@functools.partial(jax.jit, static_argnames=('merge', 'rows', 'slots'))
def empty_state(merge, params, rows, slots):
  """Returns the state of `rows` rows before their first token.

  Args:
    merge, params: those of a `Model`.
    rows: B.
    slots: the slots of caches that grow; None if there are none.
  """
  model = merge(params)
  count = jnp.zeros(rows, jnp.int32)
  logits = jnp.zeros((rows, model.vocab_size), jnp.float32)
  states = model.initial_states(rows, state_capacity=slots)
  return DecodeState(logits, states, count, count)


@functools.partial(jax.jit, static_argnames='merge', donate_argnames='state')
def _read(merge, params, batch, state):
  logits, states = merge(params).prefill(
      batch.tokens,
      mask=batch.mask,
      unzeroed=batch.unzeroed,
      prefix_len=batch.prefix_len,
      states=state.states,
  )
  count = (batch.mask & batch.unzeroed).sum(axis=1, dtype=jnp.int32)
  prefix = 0 if batch.prefix_len is None else count * (batch.prefix_len > 0)
  return DecodeState(
      jnp.where(count[:, None] > 0, logits, state.logits),
      states,
      state.position + count,
      state.prefix + prefix,
  )


def _read_whole(model, rows, slots, tell):
  """Reads rows with at most one segment, in which every token is prefix."""
  rows = [row[0].tokens if row else () for row in rows]
  longest = max(map(len, rows))
  tokens, mask = whole_rows(model, rows)
  program = _prefill_all.lower(
      model.merge, model.served, tokens, mask, model.block, slots
  ).compile()
  tell(
      f'a prefix of {longest:,} tokens is read layer by layer: it takes'
      f' {units.size(memory.needed(program))}, weights included'
  )
  logits, states = program(model.served, tokens, mask)
  count = jnp.asarray([len(row) for row in rows], jnp.int32)
  return DecodeState(logits, states, count, count)


def whole_rows(
    model: Model, rows: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns ids and a mask [B, L], with L a power of two of blocks."""
  longest = max(map(len, rows))
  shape = len(rows), model.block * sizes.filled(-(-longest // model.block))
  tokens, mask = np.zeros(shape, np.int32), np.zeros(shape, bool)
  for b, row in enumerate(rows):
    tokens[b, : len(row)] = row
    mask[b, : len(row)] = True
  return tokens, mask


@functools.partial(jax.jit, static_argnames=('merge', 'block', 'slots'))
def _prefill_all(merge, params, tokens, mask, block, slots):
  return merge(params).prefill_all(
      tokens, mask=mask, block=block, state_capacity=slots
  )


def _slots_used(model, state):
  """The most slots that a row uses, including padding that keeps a weight."""
  if state is None:
    return 0
  mixers = model.config['model']['mixers']
  layer = next(i for i, x in enumerate(mixers) if MIXERS[x].state_grows)
  return int(state.states[layer].count.max())


def _with_room(model, states, slots):
  """Adds empty slots to the caches of layers whose state grows."""

  def grown(mixer, state):
    if not MIXERS[mixer].state_grows or state.k.shape[1] >= slots:
      return state
    more = [(0, 0), (0, slots - state.k.shape[1]), (0, 0), (0, 0)]
    return state._replace(k=jnp.pad(state.k, more), v=jnp.pad(state.v, more))

  mixers = model.config['model']['mixers']
  return tuple(map(grown, mixers, states))
