"""dk_enc and dv_enc on Hopper, all chunks of the prefix in parallel."""

import math

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward_parts as parts
from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention import mosaic_sm90_launch as launch
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import BF16
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import F32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import GRAM_SHAPE
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import I32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import ROWS
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import VALUE_TILE


def make_scratch(V):
  """Buffers in shared memory and barriers, by name."""
  plain, tiled = launch.buffers(V)
  partial = F32 if V > VALUE_TILE else BF16
  return {
      'k_stage': plain(2, 2, *launch.KEYS),  # warpgroup, slot
      'v_stage': tiled(2, 2, *launch.VALUES),
      'published_kv_t': tiled(1, *launch.STATE),
      'published_gram_hi': plain(1, *GRAM_SHAPE),
      'published_gram_lo': plain(1, *GRAM_SHAPE),
      'selection': plain(*launch.KEYS),
      'dk_stage': plgpu.SMEM((2, *launch.KEYS), partial),
      'dv_stage': tiled(2, *launch.VALUES),
      'full': plgpu.Barrier(num_arrivals=2, num_barriers=(2, 2)),
      'ready': plgpu.Barrier(num_arrivals=2),
      'finish': plgpu.Barrier(num_arrivals=2),
  }


def gradients(run, arrays, config):
  """Returns dk_enc [tiles, B, P, H, 16] and dv_enc."""
  k_enc, v_enc, V = arrays['k_enc'], arrays['v_enc'], arrays['v_enc'].shape[-1]
  B, P, H, _ = k_enc.shape
  chunks = math.gcd(P // CHUNK, config.prefix_chunks)

  def dprefix(p):
    p.chunks = chunks
    _rows(p)

  outputs = {
      'dk': parts.partial_sums(k_enc, V),
      'dv': jax.ShapeDtypeStruct(v_enc.shape, BF16),
  }
  grid = {'row': B, 'head': H, 'group': P // (chunks * CHUNK)}
  return run(dprefix, grid, arrays, outputs, make_scratch(V), threads=2)


def _rows(p):
  """dk_enc and dv_enc of 64 positions of each chunk of a group."""
  prefix = parts.prefix_length(p, p.k_enc.shape[1])
  first = p.group * (p.chunks * CHUNK) + p.warpgroup * ROWS
  count = lax.div(prefix - first + I32(CHUNK - 1), I32(CHUNK))
  count = lax.min(lax.max(count, I32(0)), I32(p.chunks))

  def fetch(c):
    slot, at = launch.ring(c, 2), (
        p.row,
        pl.ds(first + c * CHUNK, ROWS),
        p.head,
    )
    full = p.full.at[p.warpgroup, slot]
    k, v = p.k_enc.at[at], p.v_enc.at[*at, p.columns]
    plgpu.copy_gmem_to_smem(k, p.k_stage.at[p.warpgroup, slot], full)
    plgpu.copy_gmem_to_smem(v, p.v_stage.at[p.warpgroup, slot], full)

  def write(c):
    plgpu.commit_smem()
    at = p.row, pl.ds(first + c * CHUNK, ROWS), p.head
    plgpu.copy_smem_to_gmem(p.dk_stage.at[p.warpgroup], p.dk.at[p.tile, *at])
    plgpu.copy_smem_to_gmem(p.dv_stage.at[p.warpgroup], p.dv.at[*at, p.columns])

  def inside(c, _):
    slot, limit = launch.ring(c, 2), prefix - first - c * CHUNK
    plgpu.commit_smem()  # the slot that is filled next has been read
    pl.when(c + 1 < count)(lambda: fetch(c + 1))
    plgpu.barrier_wait(p.full.at[p.warpgroup, slot])
    k, v = p.k_stage.at[p.warpgroup, slot], p.v_stage.at[p.warpgroup, slot]
    parts.finish_dv(p, p.warpgroup, 0, k, None, limit)
    parts.finish_dk(p, p.warpgroup, 0, k, v, None, limit)
    write(c)

  # A separate loop, because ptxas serialises wgmma under a condition.
  def beyond(c, _):
    plgpu.wait_smem_to_gmem(0, wait_read_only=True)
    p.dv_stage[p.warpgroup] = blocks.zeros(launch.VALUES).astype(BF16)
    p.dk_stage[p.warpgroup] = blocks.zeros(launch.KEYS).astype(p.dk_stage.dtype)
    write(c)

  pl.when(count > 0)(lambda: fetch(I32(0)))
  _load_total(p)
  lax.fori_loop(I32(0), count, inside, None)
  lax.fori_loop(count, I32(p.chunks), beyond, None)
  plgpu.wait_smem_to_gmem(0)
  plgpu.barrier_arrive(p.finish)
  plgpu.barrier_wait(p.finish)


def _load_total(p):
  """Copies the cotangent of the state to shared memory, for both warpgroups."""

  @pl.when(p.warpgroup == 0)
  def _():
    dkv_t = p.dkv_t.at[p.row, p.head, p.columns]
    moments = p.moments.at[p.tile, p.row, p.head]
    refs = p.published_kv_t, p.published_gram_hi, p.published_gram_lo
    blocks.publish(
        blocks.load_global(dkv_t),
        blocks.load_global(moments),
        blocks.gram_corner(),
        *(ref.at[0] for ref in refs),
    )

  @pl.when(p.warpgroup == 1)
  def _():
    p.selection[...] = blocks.selection()
    plgpu.commit_smem()

  plgpu.barrier_arrive(p.ready)
  plgpu.barrier_wait(p.ready)
