"""What the launches of the backward pass on Hopper share."""

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
  """One array like that for each tile, float32 if they have to be added up."""
  tiles = pl.cdiv(V, VALUE_TILE)
  dtype = F32 if tiles > 1 else BF16
  return jax.ShapeDtypeStruct((tiles, *like.shape), dtype)


def scan_scratch(stages, tiled, plain, documents):
  """What both scans have: the published states and their barriers."""
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
  """Hands the state over that the i-th chunk reads."""
  slot = launch.ring(i, 2)

  @pl.when(i >= 2)
  def _():
    plgpu.barrier_wait(p.free.at[slot])

  refs = p.published_kv_t, p.published_gram_hi, p.published_gram_lo
  blocks.publish(*state, corner, *(ref.at[slot] for ref in refs))
  plgpu.barrier_arrive(p.ready.at[slot])


def from_state(p, values, slot):
  """The cotangent of features, values @ state, of some columns at a time."""

  def columns(start, count):
    state = p.published_kv_t.at[slot, :, pl.ds(start, count)]
    return p.mma(None, (ROWS, count), (values, state))

  return columns


def finish_dv(p, half, slot, k, dv, limit=None, entering=None):
  """Adds what the state contributes to dv; rows from `limit` on become 0.

  Only keys of rows in `entering`, bool [64, 16], are in the state; None: all.
  """
  rolls = blocks.rolled(k, p.selection, p.emulate).astype(BF16)
  x, ones = blocks.load(k), blocks.ones()
  if entering is not None:
    x, ones = blocks.mask_tokens(x, entering)
  phi = jnp.concatenate(blocks.feature_blocks(x, rolls, ones), axis=1)
  dv = p.mma(dv, launch.VALUES, (phi, Transposed(p.published_kv_t.at[slot])))
  if limit is not None:
    dv = jnp.where(blocks.first_rows(launch.VALUES, limit), dv, F32(0))
  plgpu.wait_smem_to_gmem(0, wait_read_only=True)
  p.dv_stage[half] = dv.astype(BF16)


def finish_dk(p, half, slot, k, v, dk, limit=None, entering=None):
  """Adds what the state contributes to dk, as `finish_dv` does to dv."""
  x = blocks.load(k)
  rolls = blocks.rolled(k, p.selection, p.emulate)
  grams = p.published_gram_hi.at[slot], p.published_gram_lo.at[slot]
  t = blocks.gram_product(x, *grams, p.emulate)
  t = blocks.keep_rows(t[:, :D], entering)
  dk = -t if dk is None else dk - t
  x = blocks.keep_rows(x.astype(F32), entering)
  direct, back = blocks.features_vjp(from_state(p, v, slot), x, rolls, 2.0)
  direct = blocks.keep_rows(direct, entering)
  dk = p.mma(dk + direct, launch.KEYS, (back, p.selection))
  if limit is not None:
    dk = jnp.where(blocks.first_rows(launch.KEYS, limit), dk, F32(0))
  p.dk_stage[half] = dk.astype(p.dk_stage.dtype)
