"""The state of linear attention on Hopper, without any outputs.

It computes the sums of the segments of a sequence, see `mosaic_sm90_segments`.
A program is one row of the batch, one head and 64 values. It works like the
forward pass in the prefix, see `mosaic_sm90_prefix`, with four warpgroups:

    0     state     adds chunk after chunk to the state in its registers
    1, 2  features  of the first and of the second 64 keys of each chunk
    3     producer  copies k and v of each chunk into a ring of stages

    full[stage]   k and v have arrived
    empty[stage]  the state has read v, and the feature warpgroups k
    constants     the selection matrix is in shared memory
    finish        all are done: none exits while others use tensor cores
"""

from typing import Any

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention import mosaic_sm90_launch as launch
from pallas_kernels.prefix_linear_attention import mosaic_sm90_limits as limits
from pallas_kernels.prefix_linear_attention import mosaic_sm90_prefix as prefix
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
REGISTERS = 24, 168, 160  # producer, state, each of the others


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
    end: int32 [B, L], 128 for those of these tokens that are added and 0 for
      others; None: all are added.
    interpret: `plgpu.InterpretGPUParams`, to run without a GPU.

  Returns:
    kv_t float32 [B, H, V, 160] and gram float32 [B, H, 64, 32], as
    `roll_features` describes them.

  Raises:
    ValueError: L, D or V is not as described above.
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
    p.stages, p.has_documents = STAGES, end is not None
    p.prefix = p.lengths[p.row]
    p.prefix_chunks = lax.div(p.prefix + I32(CHUNK - 1), I32(CHUNK))
    launch.run_roles(p, REGISTERS, _copy, _add, _write_features)

  kv_t, gram = launch.launch(
      state,
      {'row': B, 'head': H},
      {'k': k, 'v': v, 'lengths': lengths}
      | ({} if end is None else {'end': end}),
      outputs,
      make_scratch(V, documents=end is not None),
      tiles=tiles,
      threads=4,
      interpret=interpret,
  )
  return kv_t[:, :, :V], gram


def make_scratch(V: int, documents: bool = False) -> dict[str, Any]:
  """Buffers in shared memory and barriers, by name."""
  plain, tiled = launch.buffers(V)
  ends = {'end_stage': plgpu.SMEM((STAGES, CHUNK), I32)} if documents else {}
  shared = ends | prefix.make_scratch(tiled)
  return shared | {
      'k_stage': plain(STAGES, CHUNK, D),
      'v_stage': tiled(STAGES, CHUNK, VALUE_TILE),
      'selection': plain(*launch.KEYS),
      'full': plgpu.Barrier(num_arrivals=2 + len(ends), num_barriers=STAGES),
      'empty': plgpu.Barrier(num_arrivals=3, num_barriers=STAGES),
      'constants': plgpu.Barrier(num_arrivals=1),
      'finish': plgpu.Barrier(num_arrivals=4),
  }


def _copy(p):
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

  lax.fori_loop(I32(0), p.prefix_chunks, step, None)
  launch.drain(p.empty, p.prefix_chunks, STAGES)


def _write_features(p, half):
  """Writes the features of 64 keys of every chunk."""
  plgpu.barrier_wait(p.constants)
  prefix.write_features(p, half)


def _add(p):
  """Adds chunk after chunk, and writes the sum."""
  p.selection[...] = blocks.selection()
  plgpu.commit_smem()
  plgpu.barrier_arrive(p.constants)
  kv_t, gram = prefix.add_chunks(p, blocks.zero_state())
  p.kv_t.at[p.row, p.head, p.columns][...] = kv_t

  @pl.when(p.tile == 0)
  def _():
    p.gram.at[p.row, p.head][...] = gram
