"""Code that the kernels of the backward pass on Hopper share."""

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as documents_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_launch as launch
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import BF16
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import D
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import F32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import GRAM_SHAPE
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import I32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import NUM_FEATURES
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import ROWS
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import Transposed
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import VALUE_TILE


def partial_sums(like, V):
  """One array for each tile, float32 if there are several to add up."""
  tiles = pl.cdiv(V, VALUE_TILE)
  dtype = F32 if tiles > 1 else BF16
  return jax.ShapeDtypeStruct((tiles, *like.shape), dtype)


def scan_scratch(stages, tiled, plain, documents):
  """The buffers of both scans: the published states and their barriers."""
  spans = documents_lib.scratch(stages) if documents else {}
  return spans | {
      'features': tiled(CHUNK, NUM_FEATURES),
      'published_kv_t': tiled(2, *launch.STATE),
      'published_gram_hi': plain(2, *GRAM_SHAPE),
      'published_gram_lo': plain(2, *GRAM_SHAPE),
      'selection': plain(*launch.KEYS),
      'full': plgpu.Barrier(
          num_arrivals=3 if spans else 2, num_barriers=stages
      ),
      'full_q': plgpu.Barrier(
          num_arrivals=5 if spans else 4, num_barriers=stages
      ),
      'constants': plgpu.Barrier(num_arrivals=1),
      'ready': plgpu.Barrier(num_arrivals=1, num_barriers=2),
      'free': plgpu.Barrier(num_arrivals=2, num_barriers=2),
      'finish': plgpu.Barrier(num_arrivals=4),
  }


def prefix_length(p, P):
  return lax.clamp(I32(0), p.prefix_len[p.row], I32(P))


def upper(x):
  """Zeroes a block on the diagonal where the row is after the column."""
  see = blocks.iota(launch.SQUARE, 0) <= blocks.iota(launch.SQUARE, 1)
  return jnp.where(see, x, F32(0))


def lower(x):
  """Zeroes a block on the diagonal where the column is after the row."""
  see = blocks.iota(launch.SQUARE, 0) >= blocks.iota(launch.SQUARE, 1)
  return jnp.where(see, x, F32(0))


def publish_selection(p):
  p.selection[...] = blocks.selection()
  plgpu.commit_smem()
  plgpu.barrier_arrive(p.constants)


def publish(p, corner, i, state):
  """Publishes the state before the i-th chunk, for the row warpgroups."""
  slot = launch.ring(i, 2)

  @pl.when(i >= 2)
  def _():
    plgpu.barrier_wait(p.free.at[slot])

  refs = p.published_kv_t, p.published_gram_hi, p.published_gram_lo
  blocks.publish(*state, corner, *(ref.at[slot] for ref in refs))
  plgpu.barrier_arrive(p.ready.at[slot])


def rolls_sum(p, x):
  """`blocks.rolled`, for `blocks.mma_group`."""
  return None, (ROWS, 4 * D), (x, Transposed(p.selection))


def gram_sum(p, x, slot):
  """`blocks.gram_product` of a published state, for `blocks.mma_group`."""
  column = blocks.constant_column().astype(BF16)
  extended = jnp.concatenate([x, column], axis=1)
  top = pl.ds(0, GRAM_SHAPE[1])
  grams = p.published_gram_hi.at[slot, top], p.published_gram_lo.at[slot, top]
  return None, (ROWS, GRAM_SHAPE[1]), *((extended, gram) for gram in grams)


def from_state(p, values, slot):
  """The cotangent of features, values @ state, for a few columns at a time."""

  def columns(start, count):
    state = p.published_kv_t.at[slot, :, pl.ds(start, count)]
    return p.mma(None, (ROWS, count), (values, state))

  return columns


def finish_dv(p, half, slot, k, inside=None, limit=None, entering=None):
  """Adds the contribution of the state to dv, and writes dv to `dv_stage`.

  Args:
    p: the program.
    half: the index of the stage of dv that is written.
    slot: the slot of the published state.
    k: keys, bfloat16 [64, 16] in shared memory.
    inside: the contribution of the queries of the same chunk, as a sum for
      `blocks.mma_group`; None if there are none.
    limit: rows from this one on become 0; None: none.
    entering: bool [64, 16], rows of the keys that are in the state; None: all.
  """
  if inside:
    rolls, dv = blocks.mma_group(p.emulate, rolls_sum(p, k), inside)
  else:
    rolls, dv = p.mma(*rolls_sum(p, k)), None
  rolls = rolls.astype(BF16)
  x, ones = blocks.load(k), blocks.ones()
  if entering is not None:
    x, ones = blocks.mask_tokens(x, entering)
  phi = jnp.concatenate(blocks.feature_blocks(x, rolls, ones), axis=1)
  state = Transposed(p.published_kv_t.at[slot])
  dv = p.mma(dv, launch.VALUES, (phi, state))
  if limit is not None:
    dv = jnp.where(blocks.first_rows(launch.VALUES, limit), dv, F32(0))
  plgpu.wait_smem_to_gmem(0, wait_read_only=True)
  p.dv_stage[half] = dv.astype(BF16)


def finish_dk(p, half, slot, k, v, inside=None, limit=None, entering=None):
  """Adds the contribution of the state to dk; see `finish_dv`."""
  x = blocks.load(k)
  sums = rolls_sum(p, k), gram_sum(p, x, slot)
  if inside:
    rolls, t, dk = blocks.mma_group(p.emulate, *sums, inside)
  else:
    rolls, t = (p.mma(*x) for x in sums)
  t = blocks.keep_rows(t[:, :D], entering)
  dk = dk - t if inside else -t
  x = blocks.keep_rows(x.astype(F32), entering)
  direct, back = blocks.features_vjp(from_state(p, v, slot), x, rolls, 2.0)
  direct = blocks.keep_rows(direct, entering)
  dk = p.mma(dk + direct, launch.KEYS, (back, p.selection))
  if limit is not None:
    dk = jnp.where(blocks.first_rows(launch.KEYS, limit), dk, F32(0))
  p.dk_stage[half] = dk.astype(p.dk_stage.dtype)
