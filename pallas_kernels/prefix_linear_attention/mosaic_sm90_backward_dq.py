"""dq on Hopper, forward in time; see `mosaic_sm90_backward`."""

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
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import I32
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
      'y_stage': tiled(stages, CHUNK, VALUE_TILE),
      'inv_z_stage': plgpu.SMEM((stages, CHUNK), F32),
      'dq_stage': plgpu.SMEM((2, *launch.KEYS), partial),
      'd_stage': plgpu.SMEM((2, ROWS), F32),
      'empty': plgpu.Barrier(num_arrivals=3, num_barriers=stages),
  }


def gradients(run, arrays, config):
  """Returns dq [tiles, B, L, H, 16] and d [tiles, B, H, L]."""
  q, inv_z, V = arrays['q'], arrays['inv_z'], arrays['v'].shape[-1]
  B, L, H, _ = q.shape

  def dq(p):
    p.stages, p.chunks = config.stages, L // CHUNK
    p.has_prefix = 'k_enc' in arrays
    p.has_state = 'kv_t' in arrays
    p.has_documents = 'start' in arrays
    p.prefix = (
        parts.prefix_length(p, p.k_enc.shape[1]) if p.has_prefix else I32(0)
    )
    p.prefix_chunks = lax.div(p.prefix + I32(CHUNK - 1), I32(CHUNK))
    registers = config.dq_registers
    launch.run_roles(p, registers, _producer, _state, _rows)

  d = jax.ShapeDtypeStruct((pl.cdiv(V, VALUE_TILE), *inv_z.shape), F32)
  outputs = {'dq': parts.partial_sums(q, V), 'd': d}
  scratch = make_scratch(config.stages, V, 'start' in arrays)
  return run(dq, {'row': B, 'head': H}, arrays, outputs, scratch, threads=4)


def _producer(p):
  """Loads the chunks of the prefix, and then those of the tokens."""
  total = p.prefix_chunks + I32(p.chunks)

  def load_keys(k, v, end, rows, stage):
    full = p.full.at[stage]
    if p.has_documents:
      end = end.at[p.row, rows]
      plgpu.copy_gmem_to_smem(end, p.end_stage.at[stage], full)
    k, v = k.at[p.row, rows, p.head], v.at[p.row, rows, p.head, p.columns]
    plgpu.copy_gmem_to_smem(k, p.k_stage.at[stage], full)
    plgpu.copy_gmem_to_smem(v, p.v_stage.at[stage], full)

  def load_prefix(i, stage):
    end = p.end_enc if p.has_documents else None
    load_keys(p.k_enc, p.v_enc, end, pl.ds(i * CHUNK, CHUNK), stage)

  def load(i, stage):
    rows, full_q = pl.ds(i * CHUNK, CHUNK), p.full_q.at[stage]
    load_keys(p.k, p.v, p.end if p.has_documents else None, rows, stage)
    if p.has_documents:
      start = p.start.at[p.row, rows]
      plgpu.copy_gmem_to_smem(start, p.start_stage.at[stage], full_q)
    at = p.row, rows, p.head
    for source, target in (
        (p.q.at[at], p.q_stage),
        (p.dy.at[*at, p.columns], p.dy_stage),
        (p.y.at[*at, p.columns], p.y_stage),
        (p.inv_z.at[p.row, p.head, rows], p.inv_z_stage),
    ):
      plgpu.copy_gmem_to_smem(source, target.at[stage], full_q)

  def step(c, _):
    stage = launch.ring(c, p.stages)

    @pl.when(c >= p.stages)
    def _():
      plgpu.barrier_wait(p.empty.at[stage])

    if p.has_prefix:
      pl.when(c < p.prefix_chunks)(lambda: load_prefix(c, stage))
    pl.when(c >= p.prefix_chunks)(lambda: load(c - p.prefix_chunks, stage))

  lax.fori_loop(I32(0), total, step, None)
  launch.drain(p.empty, total, p.stages)


def _state(p):
  """Recomputes the states and publishes the state before each chunk."""
  parts.publish_selection(p)
  corner = blocks.gram_corner()

  def read_prefix(c, state):
    stage = launch.ring(c, p.stages)
    counts = blocks.first_tokens(p.prefix - c * CHUNK)
    return _add_keys(p, stage, state, counts)

  def read(i, state):
    stage = launch.ring(i + p.prefix_chunks, p.stages)
    if p.has_documents:
      plgpu.barrier_wait(p.full_q.at[stage])
      state = documents_lib.keep(state, p.start_stage.at[stage])
    state = _add_keys(p, stage, state)
    parts.publish(p, corner, i + 1, state)
    return state

  state = blocks.zero_state()
  if p.has_state:
    state = (
        blocks.load_global(p.kv_t.at[p.row, p.head, p.columns]),
        blocks.load_global(p.gram.at[p.row, p.head]),
    )
  state = lax.fori_loop(I32(0), p.prefix_chunks, read_prefix, state)
  parts.publish(p, corner, launch.traced_zero(p), state)
  last = I32(p.chunks - 1)  # no chunk needs the state after it
  lax.fori_loop(I32(0), last, read, state)
  stage = launch.ring(last + p.prefix_chunks, p.stages)
  plgpu.barrier_wait(p.full.at[stage])
  if p.has_documents:
    plgpu.barrier_wait(p.full_q.at[stage])
  plgpu.barrier_arrive(p.empty.at[stage])
  launch.drain(p.free, I32(p.chunks), 2)


def _add_keys(p, stage, state, counts=None):
  """The state after a chunk; only tokens in `counts` are added."""
  plgpu.barrier_wait(p.full.at[stage])
  if p.has_documents:
    counts = documents_lib.entering(p.end_stage.at[stage])
  state = blocks.add_keys(
      state,
      p.k_stage.at[stage],
      p.v_stage.at[stage],
      blocks.halves(p.features),
      p.selection,
      counts=counts,
      emulate=p.emulate,
  )
  blocks.release(p.empty.at[stage], p.emulate)
  return state


def _rows(p, half):
  """dq and d of 64 positions of each chunk."""
  plgpu.barrier_wait(p.constants)

  def skip(c, _):
    stage = launch.ring(c, p.stages)
    plgpu.barrier_wait(p.full.at[stage])
    plgpu.barrier_arrive(p.empty.at[stage])

  def step(i, _):
    stage, slot = launch.ring(i + p.prefix_chunks, p.stages), launch.ring(i, 2)
    rows = pl.ds(half * ROWS, ROWS)
    plgpu.barrier_wait(p.full.at[stage])
    plgpu.barrier_wait(p.full_q.at[stage])
    q = p.q_stage.at[stage, rows]
    dy = blocks.load(p.dy_stage.at[stage, rows]).astype(F32)
    inv_z = blocks.load(p.inv_z_stage.at[stage, rows], PER_ROW)
    y = blocks.load(p.y_stage.at[stage, rows]).astype(F32)
    d = jnp.sum(dy * y, axis=1)
    delta = d * inv_z
    g = (dy * blocks.broadcast_rows(inv_z, launch.VALUES)).astype(BF16)
    dx = _inside(p, half, stage, q, g, delta)

    x = blocks.load(q) * BF16(0.25)
    rolls = blocks.rolled(q, p.selection, p.emulate) * F32(0.25)
    plgpu.barrier_wait(p.ready.at[slot])
    grams = p.published_gram_hi.at[slot], p.published_gram_lo.at[slot]
    t = blocks.gram_product(x, *grams, p.emulate)
    reads = None
    if p.has_documents:
      reads = documents_lib.reading(p.start_stage.at[stage], half)
    dx -= blocks.keep_rows(
        t[:, :D] * blocks.broadcast_rows(delta, launch.KEYS), reads
    )
    from_state = parts.from_state(p, g, slot)
    x = blocks.keep_rows(x.astype(F32), reads)
    direct, back = blocks.features_vjp(from_state, x, rolls, 1.0)
    direct = blocks.keep_rows(direct, reads)
    plgpu.commit_smem()  # threads have read what TMA will overwrite
    plgpu.barrier_arrive(p.free.at[slot])
    plgpu.barrier_arrive(p.empty.at[stage])
    dx = p.mma(dx + direct, launch.KEYS, (back, p.selection))

    plgpu.wait_smem_to_gmem(0, wait_read_only=True)
    p.dq_stage[half] = (dx * F32(0.25)).astype(p.dq_stage.dtype)
    p.d_stage[half] = d
    plgpu.commit_smem()
    rows = pl.ds(i * CHUNK + half * ROWS, ROWS)
    dq = p.dq.at[p.tile, p.row, rows, p.head]
    plgpu.copy_smem_to_gmem(p.dq_stage.at[half], dq)
    d = p.d.at[p.tile, p.row, p.head, rows]
    plgpu.copy_smem_to_gmem(p.d_stage.at[half], d)

  lax.fori_loop(I32(0), p.prefix_chunks, skip, None)
  lax.fori_loop(I32(0), I32(p.chunks), step, None)
  plgpu.wait_smem_to_gmem(0)


def _inside(p, half, stage, q, g, delta):
  """The contribution of the chunk's own keys to the cotangent of q / 4."""
  dx = None
  for j in range(half + 1):
    rows = pl.ds(j * ROWS, ROWS)
    k, v = p.k_stage.at[stage, rows], p.v_stage.at[stage, rows]
    a = p.mma(None, launch.SQUARE, (g, Transposed(v)))
    a -= blocks.broadcast_rows(delta, launch.SQUARE)
    s = p.mma(None, launch.SQUARE, (q, Transposed(k)))
    ds = a * (s * F32(0.25) + F32(1))
    ds = parts.lower(ds) if j == half else ds
    if p.has_documents:
      start, end = p.start_stage.at[stage], p.end_stage.at[stage]
      ds = jnp.where(documents_lib.sees(start, end, half, j), ds, F32(0))
    dx = p.mma(dx, launch.KEYS, (ds.astype(BF16), k))
  return dx
