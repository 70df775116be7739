"""Adds keys and values to the state on Hopper, without any outputs.

The forward pass uses this for the prefix, and `mosaic_sm90_state` for
everything. Alone, the state warpgroup would wait for its own features. So two
others compute the features of the next chunk, 64 keys each, while it adds those
of a chunk:

    built[buffer]  the features of a chunk are in shared memory
    used[buffer]   the state has read them

The features of 64 keys fill a slab of shared memory, those of a chunk two.
"""

from typing import Any

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as documents_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_launch as launch
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import I32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import NUM_FEATURES
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import ROWS


def make_scratch(tiled: Any) -> dict[str, Any]:
  """Buffers in shared memory and barriers, by name."""
  return {
      'slabs': tiled(4, ROWS, NUM_FEATURES),
      'built': plgpu.Barrier(num_arrivals=2, num_barriers=2),
      'used': plgpu.Barrier(num_arrivals=1, num_barriers=2),
  }


def slabs(p: Any, buffer: jax.Array) -> list[Any]:
  """The slabs with the features of a chunk."""
  return [p.slabs.at[2 * buffer + half] for half in range(2)]


def write_features(p: Any, half: int) -> None:
  """Writes features of keys 64 half to 64 half + 63 of all prefix chunks."""
  rows = pl.ds(ROWS * half, ROWS)

  def step(chunk, _):
    stage, buffer = launch.ring(chunk, p.stages), launch.ring(chunk, 2)
    plgpu.barrier_wait(p.full.at[stage])
    if p.has_documents:
      counts = documents_lib.entering(p.end_stage.at[stage])
    else:
      counts = blocks.first_tokens(p.prefix - chunk * CHUNK)
    pl.when(chunk >= 2)(lambda: plgpu.barrier_wait(p.used.at[buffer]))
    blocks.write_features(
        slabs(p, buffer)[half],
        p.k_stage.at[stage, rows],
        p.selection,
        counts=counts(half),
        emulate=p.emulate,
    )
    plgpu.commit_smem()
    plgpu.barrier_arrive(p.built.at[buffer])
    plgpu.barrier_arrive(p.empty.at[stage])

  lax.fori_loop(I32(0), p.prefix_chunks, step, None)
  launch.drain(p.used, p.prefix_chunks, 2)


def add_chunks(
    p: Any, state: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
  """The state after all chunks of the prefix."""

  def step(chunk, state):
    stage, buffer = launch.ring(chunk, p.stages), launch.ring(chunk, 2)
    plgpu.barrier_wait(p.full.at[stage])
    plgpu.barrier_wait(p.built.at[buffer])
    v = p.v_stage.at[stage]
    state = blocks.add_features(state, v, slabs(p, buffer), p.emulate)
    blocks.release(p.used.at[buffer], p.emulate)
    plgpu.barrier_arrive(p.empty.at[stage])
    return state

  return lax.fori_loop(I32(0), p.prefix_chunks, step, state)
