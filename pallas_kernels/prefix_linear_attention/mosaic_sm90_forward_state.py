"""The state of the forward pass on Hopper, chunk after chunk.

`mosaic_sm90_forward` describes the roles of the warpgroups.
"""

from typing import Any

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as documents_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_launch as launch
from pallas_kernels.prefix_linear_attention import mosaic_sm90_prefix as prefix
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import I32


def add_chunks(p: Any) -> None:
  """Adds chunk after chunk; publishes the state before each."""
  p.selection[...] = blocks.selection()
  p.selection_q[...] = blocks.selection(1 / 4)
  plgpu.commit_smem()
  plgpu.barrier_arrive(p.constants)
  corner = blocks.gram_corner()

  def read_tokens(i, state):
    counts = None
    if p.length < p.chunks * CHUNK:
      counts = blocks.first_tokens(p.length - i * CHUNK)
    stage = launch.ring(i + p.prefix_chunks, p.stages)
    if p.has_documents:
      plgpu.barrier_wait(p.full_q.at[stage])
      state = documents_lib.keep(state, p.start_stage.at[stage])
      counts = documents_lib.entering(p.end_stage.at[stage])
    state = _update(p, state, stage, counts)
    pl.when(i + 1 < p.chunks)(lambda: _publish(p, i + 1, state, corner))
    return state

  state = _initial_state(p)
  if p.has_prefix:
    state = prefix.add_chunks(p, state)
  _publish(p, launch.traced_zero(p), state, corner)
  if p.return_state:
    state = lax.fori_loop(I32(0), I32(p.chunks), read_tokens, state)
    _write_state(p, *state)
  else:  # no chunk reads the state after the last one
    lax.fori_loop(I32(0), I32(p.chunks - 1), read_tokens, state)
    _skip(p, p.prefix_chunks + I32(p.chunks - 1))
  launch.drain(p.free, I32(p.chunks), 2)


def _initial_state(p):
  """The initial kv_t [64, 160] and gram [64, 32] in registers."""
  if not p.has_state:
    return blocks.zero_state()
  kv_t = blocks.load_global(p.kv_t.at[p.row, p.head, p.columns])
  return kv_t, blocks.load_global(p.gram.at[p.row, p.head])


def _write_state(p, kv_t, gram):
  """Copies the final state to global memory."""
  p.final_kv_t.at[p.row, p.head, p.columns][...] = kv_t

  @pl.when(p.tile == 0)
  def _():
    p.final_gram.at[p.row, p.head][...] = gram


def _update(p, state, stage, counts):
  """The state after a chunk; only tokens in `counts` are added."""
  plgpu.barrier_wait(p.full.at[stage])
  state = blocks.add_keys(
      state,
      p.k_stage.at[stage],
      p.v_stage.at[stage],
      prefix.slabs(p, launch.traced_zero(p)),
      p.selection,
      counts=counts,
      emulate=p.emulate,
  )
  blocks.release(p.empty.at[stage], p.emulate)
  return state


def _skip(p, chunk):
  """Waits for a chunk without reading it: every phase needs a wait."""
  stage = launch.ring(chunk, p.stages)
  plgpu.barrier_wait(p.full.at[stage])
  if p.has_documents:
    plgpu.barrier_wait(p.full_q.at[stage])
  plgpu.barrier_arrive(p.empty.at[stage])


def _publish(p, i, state, corner):
  """Publishes the state before chunk i, once chunk i - 2 has read its own."""
  buffer = launch.ring(i, 2)

  @pl.when(i >= 2)
  def _():
    plgpu.barrier_wait(p.free.at[buffer])

  blocks.publish(*state, corner, *published(p, buffer))
  plgpu.barrier_arrive(p.ready.at[buffer])


def published(p: Any, buffer: jax.Array) -> tuple[Any, Any, Any]:
  """The buffers of a published state, see `blocks.publish`."""
  grams = p.published_gram_hi, p.published_gram_lo
  return p.slabs.at[2 + buffer], *(gram.at[buffer] for gram in grams)
