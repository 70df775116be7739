"""The state of linear attention on Hopper, without any outputs.

It sums up segments of a sequence that is split, see `mosaic_sm90_segments`. A
program is one row of the batch, one head and 64 values, with two warpgroups:

    0  state     adds chunk after chunk to the state in its registers
    1  producer  copies k and v of each chunk into a ring of stages

    full[stage]   k and v have arrived
    empty[stage]  the state has read them
    finish        nobody leaves while others use tensor cores
"""

import functools
from typing import Any

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as documents_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_launch as launch
from pallas_kernels.prefix_linear_attention import mosaic_sm90_limits as limits
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import (
    CHUNK,
    D,
    F32,
    GRAM_SHAPE,
    I32,
    NUM_FEATURES,
    VALUE_TILE,
)

STAGES = 4  # chunks in shared memory


def final_state(
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    end: jax.Array | None = None,
    *,
    interpret: Any = None,
) -> tuple[jax.Array, jax.Array]:
  """The state after the first `lengths` tokens of each row.

  Args:
    k: bfloat16 [B, L, H, 16]; L is a multiple of 128.
    v: bfloat16 [B, L, H, V]; V is a multiple of 16.
    lengths: int32 [B], from 0 to L. Chunks beyond them are not read.
    end: int32 [B, L], 128 for the tokens among these that count and 0 for the
      others; all of them do if None.
    interpret: `plgpu.InterpretGPUParams`, to run without a GPU.

  Returns:
    kv_t float32 [B, H, V, 160] and gram float32 [B, H, 64, 32], as
    `roll_features` describes them.

  Raises:
    ValueError: L, D or V is not as said above.
  """
  B, L, H, V = v.shape
  limits.check_sizes(L=L, P=0, D=k.shape[-1], V=V)
  tiles = pl.cdiv(V, VALUE_TILE)
  outputs = {
      'kv_t': jax.ShapeDtypeStruct(
          (B, H, tiles * VALUE_TILE, NUM_FEATURES), F32
      ),
      'gram': jax.ShapeDtypeStruct((B, H, *GRAM_SHAPE), F32),
  }

  def state(p):
    p.has_documents = end is not None
    _run_warpgroup(p)

  kv_t, gram = launch.launch(
      state,
      {'row': B, 'head': H},
      {'k': k, 'v': v, 'lengths': lengths}
      | ({} if end is None else {'end': end}),
      outputs,
      make_scratch(V, documents=end is not None),
      tiles=tiles,
      threads=2,
      interpret=interpret,
  )
  return kv_t[:, :, :V], gram


def make_scratch(V: int, documents: bool = False) -> dict[str, Any]:
  """Buffers in shared memory and barriers, by name."""
  plain, tiled = launch.buffers(V)
  ends = {'end_stage': plgpu.SMEM((STAGES, CHUNK), I32)} if documents else {}
  return ends | {
      'k_stage': plain(STAGES, CHUNK, D),
      'v_stage': tiled(STAGES, CHUNK, VALUE_TILE),
      'features': tiled(CHUNK, NUM_FEATURES),
      'selection': plain(*launch.KEYS),
      'full': plgpu.Barrier(num_arrivals=2 + len(ends), num_barriers=STAGES),
      'empty': plgpu.Barrier(num_arrivals=1, num_barriers=STAGES),
      'finish': plgpu.Barrier(num_arrivals=2),
  }


def _run_warpgroup(p):
  """Every warpgroup finds its role."""
  length = p.lengths[p.row]
  count = lax.div(length + I32(CHUNK - 1), I32(CHUNK))
  pl.when(p.warpgroup == 0)(functools.partial(_add, p, length, count))
  pl.when(p.warpgroup == 1)(functools.partial(_copy, p, count))
  plgpu.barrier_arrive(p.finish)
  plgpu.barrier_wait(p.finish)


def _copy(p, count):
  """Copies all chunks, as soon as their stage is empty."""

  def step(chunk, _):
    stage = launch.ring(chunk, STAGES)
    at = p.row, pl.ds(chunk * CHUNK, CHUNK), p.head
    pl.when(chunk >= STAGES)(lambda: plgpu.barrier_wait(p.empty.at[stage]))
    full = p.full.at[stage]
    plgpu.copy_gmem_to_smem(p.k.at[at], p.k_stage.at[stage], full)
    plgpu.copy_gmem_to_smem(p.v.at[*at, p.columns], p.v_stage.at[stage], full)
    if p.has_documents:
      plgpu.copy_gmem_to_smem(p.end.at[at[:2]], p.end_stage.at[stage], full)

  lax.fori_loop(I32(0), count, step, None)
  launch.drain(p.empty, count, STAGES)


def _add(p, length, count):
  """Adds up chunk after chunk, and writes the sum."""
  p.selection[...] = blocks.selection()
  plgpu.commit_smem()

  def step(chunk, state):
    stage = launch.ring(chunk, STAGES)
    plgpu.barrier_wait(p.full.at[stage])
    if p.has_documents:
      counts = documents_lib.entering(p.end_stage.at[stage])
    else:
      counts = blocks.first_tokens(length - chunk * CHUNK)
    state = blocks.add_keys(
        state,
        p.k_stage.at[stage],
        p.v_stage.at[stage],
        p.features,
        p.selection,
        counts=counts,
        emulate=p.emulate,
    )
    blocks.release(p.empty.at[stage], p.emulate)
    return state

  state = blocks.zero_state()
  kv_t, gram = lax.fori_loop(I32(0), count, step, state)
  p.kv_t.at[p.row, p.head, p.columns][...] = kv_t

  @pl.when(p.tile == 0)
  def _():
    p.gram.at[p.row, p.head][...] = gram
