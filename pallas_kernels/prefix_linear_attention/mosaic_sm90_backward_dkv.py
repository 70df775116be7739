"""dk and dv on Hopper, backward in time; see `mosaic_sm90_backward`."""

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward_parts as parts
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
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import PER_COLUMN
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import PER_ROW
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import ROWS
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import Transposed
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import VALUE_TILE


def make_scratch(stages, V, documents=False):
  """Buffers in shared memory and barriers, by name."""
  plain, tiled = launch.buffers(V)
  partial = F32 if V > VALUE_TILE else BF16
  return parts.scan_scratch(stages, tiled, plain, documents) | {
      'q_stage': plain(stages, CHUNK, D),
      'k_stage': plain(stages, CHUNK, D),
      'v_stage': tiled(stages, CHUNK, VALUE_TILE),
      'dy_stage': tiled(stages, CHUNK, VALUE_TILE),
      'inv_z_stage': plgpu.SMEM((stages, CHUNK), F32),
      'd_stage': plgpu.SMEM((stages, CHUNK), F32),
      'weighted': tiled(CHUNK, GRAM_SHAPE[1]),
      'dk_stage': plgpu.SMEM((2, *launch.KEYS), partial),
      'dv_stage': tiled(2, *launch.VALUES),
      'empty': plgpu.Barrier(num_arrivals=3, num_barriers=stages),
  }


def gradients(run, arrays, config, *, return_state=True):
  """Returns dk [tiles, B, L, H, 16], dv, and the inputs of dprefix.

  These are dkv_t [B, H, V, 160], with V padded to whole tiles, and the moments
  [tiles, B, H, 64, 32]; they are returned only with `return_state`.
  """
  k, v, V = arrays['k'], arrays['v'], arrays['v'].shape[-1]
  B, L, H, _ = k.shape

  def dkv(p):
    p.stages, p.chunks = config.stages, L // CHUNK
    p.has_documents = 'start' in arrays
    p.has_state = 'dkv_t_end' in arrays
    p.return_state = return_state
    registers = config.dkv_registers
    launch.run_roles(p, registers, _producer, _state, _rows)

  outputs = {
      'dk': parts.partial_sums(k, V),
      'dv': jax.ShapeDtypeStruct(v.shape, BF16),
  }
  if return_state:
    tiles = pl.cdiv(V, VALUE_TILE)
    dkv_t = B, H, tiles * VALUE_TILE, NUM_FEATURES
    outputs['dkv_t'] = jax.ShapeDtypeStruct(dkv_t, F32)
    outputs['moments'] = jax.ShapeDtypeStruct((tiles, B, H, *GRAM_SHAPE), F32)
  scratch = make_scratch(config.stages, V, 'start' in arrays)
  return run(dkv, {'row': B, 'head': H}, arrays, outputs, scratch, threads=4)


def _producer(p):
  """Loads the chunks, the last one first."""

  def step(c, _):
    stage = launch.ring(c, p.stages)
    full, full_q = p.full.at[stage], p.full_q.at[stage]
    rows = pl.ds((p.chunks - 1 - c) * CHUNK, CHUNK)

    @pl.when(c >= p.stages)
    def _():
      plgpu.barrier_wait(p.empty.at[stage])

    at, spans = (p.row, rows, p.head), ()
    if p.has_documents:
      spans = (
          (p.start.at[p.row, rows], p.start_stage, full_q),
          (p.end.at[p.row, rows], p.end_stage, full),
      )
    for source, target, barrier in (
        (p.k.at[at], p.k_stage, full),
        (p.v.at[*at, p.columns], p.v_stage, full),
        (p.q.at[at], p.q_stage, full_q),
        (p.dy.at[*at, p.columns], p.dy_stage, full_q),
        (p.inv_z.at[p.row, p.head, rows], p.inv_z_stage, full_q),
        (p.d.at[p.tile, p.row, p.head, rows], p.d_stage, full_q),
        *spans,
    ):
      plgpu.copy_gmem_to_smem(source, target.at[stage], barrier)

  total = I32(p.chunks)
  lax.fori_loop(I32(0), total, step, None)
  launch.drain(p.empty, total, p.stages)


def _state(p):
  """Adds up the cotangent of the state and publishes it before each chunk."""
  parts.publish_selection(p)
  corner = blocks.gram_corner()

  def read(c, state):
    stage = launch.ring(c, p.stages)
    plgpu.barrier_wait(p.full_q.at[stage])
    state = _add_queries(p, stage, state)
    pl.when(c + 1 < p.chunks)(lambda: parts.publish(p, corner, c + 1, state))
    return state

  dkv_t = p.row, p.head, p.columns
  moments = p.tile, p.row, p.head
  state = blocks.zero_state()
  if p.has_state:
    state = (
        blocks.load_global(p.dkv_t_end.at[dkv_t]),
        blocks.load_global(p.moments_end.at[moments]),
    )
  parts.publish(p, corner, launch.traced_zero(p), state)
  state = lax.fori_loop(I32(0), I32(p.chunks), read, state)
  if p.return_state:
    p.dkv_t.at[dkv_t][...], p.moments.at[moments][...] = state
  launch.drain(p.free, I32(p.chunks), 2)


def _add_queries(p, stage, state):
  """Adds the queries of a chunk to the cotangent of the state.

  Each feature is multiplied by 1 / z once, so that no scaled copy of dy is
  needed.
  """
  start = p.start_stage.at[stage] if p.has_documents else None
  if p.has_documents:
    state = documents_lib.keep(state, start)
  dkv_t, moments = state
  for half in range(2):
    rows = pl.ds(half * ROWS, ROWS)
    q = p.q_stage.at[stage, rows]
    rolls = blocks.rolled(q, p.selection, p.emulate).astype(BF16)
    x = blocks.load(q).astype(F32) * F32(0.25)
    inv_z = blocks.load(p.inv_z_stage.at[stage, rows], PER_ROW)
    inv_z = blocks.broadcast_rows(inv_z, launch.KEYS)
    if p.has_documents:
      inv_z = blocks.keep_rows(inv_z, documents_lib.reading(start, half))
    phi = blocks.feature_blocks(
        (x * inv_z).astype(BF16),
        rolls * BF16(0.25),
        inv_z.astype(BF16),
        square=0.5,
        factor=x.astype(BF16),
    )
    blocks.store_features(p.features.at[rows], phi)
    extended = jnp.concatenate([x, blocks.constant_column()], axis=1)
    d = blocks.load(p.d_stage.at[stage, rows], PER_ROW)
    d = blocks.broadcast_rows(d, extended.shape)
    p.weighted[rows, :] = (extended * d).astype(BF16)
  plgpu.commit_smem()
  dkv_t = p.mma(
      dkv_t, launch.STATE, (Transposed(p.dy_stage.at[stage]), p.features)
  )
  some = p.features.at[:, pl.ds(0, GRAM_SHAPE[0])]
  moments = p.mma(moments, GRAM_SHAPE, (Transposed(some), p.weighted))
  blocks.release(p.empty.at[stage], p.emulate)
  return dkv_t, moments


def _rows(p, half):
  """dk and dv of 64 positions of each chunk.

  dv is finished first, and k qᵀ is computed again for dk: both at once would
  need too many registers. Independent products are computed together, so that
  the warpgroup waits less often.
  """
  plgpu.barrier_wait(p.constants)
  rows = pl.ds(half * ROWS, ROWS)

  def step(c, _):
    stage, slot = launch.ring(c, p.stages), launch.ring(c, 2)
    k, v = p.k_stage.at[stage, rows], p.v_stage.at[stage, rows]
    plgpu.barrier_wait(p.full.at[stage])
    plgpu.barrier_wait(p.full_q.at[stage])
    end = entering = None
    if p.has_documents:
      end = documents_lib.ends(p.end_stage.at[stage], half)
      entering = documents_lib.is_entering(end)
    dv = _dv_inside(p, half, stage, k, end)
    plgpu.barrier_wait(p.ready.at[slot])
    parts.finish_dv(p, half, slot, k, dv, entering=entering)
    dk = _dk_inside(p, half, stage, k, v, end)
    parts.finish_dk(p, half, slot, k, v, dk, entering=entering)
    # TMA will read what threads have written and overwrite what they have read.
    plgpu.commit_smem()
    first = (p.chunks - 1 - c) * CHUNK + half * ROWS
    at = p.row, pl.ds(first, ROWS), p.head
    plgpu.copy_smem_to_gmem(p.dk_stage.at[half], p.dk.at[p.tile, *at])
    plgpu.copy_smem_to_gmem(p.dv_stage.at[half], p.dv.at[*at, p.columns])
    plgpu.barrier_arrive(p.free.at[slot])
    plgpu.barrier_arrive(p.empty.at[stage])

  lax.fori_loop(I32(0), I32(p.chunks), step, None)
  plgpu.wait_smem_to_gmem(0)


def _dv_inside(p, half, stage, k, end):
  """The contribution of the queries of the same chunk to dv.

  Returns a sum for `blocks.mma_group`, which computes its last product.
  """
  dv, s = None, p.mma(*_scores(p, stage, k, half))
  for i in range(half, 2):
    rows = pl.ds(i * ROWS, ROWS)
    inv_z = blocks.load(p.inv_z_stage.at[stage, rows], PER_COLUMN)
    weights = s * (s * F32(1 / 32) + F32(0.25)) + F32(1)
    weights *= blocks.broadcast_columns(inv_z, launch.SQUARE)
    weights = _allowed(weights, half, i, end)
    dy = p.dy_stage.at[stage, rows]
    dv = dv, launch.VALUES, (weights.astype(BF16), dy)
    if i < 1:  # the queries of the second half follow
      dv, s = blocks.mma_group(p.emulate, dv, _scores(p, stage, k, i + 1))
  return dv


def _dk_inside(p, half, stage, k, v, end):
  """The same for dk."""

  def factors(i):
    dy = p.dy_stage.at[stage, pl.ds(i * ROWS, ROWS)]
    a = None, launch.SQUARE, (v, Transposed(dy))
    return a, _scores(p, stage, k, i)

  dk, (a, s) = None, blocks.mma_group(p.emulate, *factors(half))
  for i in range(half, 2):
    rows = pl.ds(i * ROWS, ROWS)
    inv_z = blocks.load(p.inv_z_stage.at[stage, rows], PER_COLUMN)
    d = blocks.load(p.d_stage.at[stage, rows], PER_COLUMN)
    a -= blocks.broadcast_columns(d, launch.SQUARE)
    ds = a * (s * F32(1 / 16) + F32(0.25))
    ds *= blocks.broadcast_columns(inv_z, launch.SQUARE)
    ds = _allowed(ds, half, i, end)
    dk = dk, launch.KEYS, (ds.astype(BF16), p.q_stage.at[stage, rows])
    if i < 1:  # as above
      dk, a, s = blocks.mma_group(p.emulate, dk, *factors(i + 1))
  return dk


def _scores(p, stage, k, i):
  """Keys times the queries of a half, for `blocks.mma_group`."""
  q = p.q_stage.at[stage, pl.ds(i * ROWS, ROWS)]
  return None, launch.SQUARE, (k, Transposed(q))


def _allowed(x, keys, queries, end):
  """Zeroes x [64, 64] where the query (column) does not see the key (row)."""
  x = parts.upper(x) if keys == queries else x
  if end is None:
    return x
  return jnp.where(documents_lib.seen(end, queries), x, F32(0))
