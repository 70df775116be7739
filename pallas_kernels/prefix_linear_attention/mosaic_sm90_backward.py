"""Gradients of prefix linear attention on Hopper, in three Pallas kernels.

The formulas are those of `roll_algebra.backward`, part by part:

    dq       forward in time: recomputes the states that the forward pass had.
             dq, and d = dy·y of every position for the next launch
    dkv      backward in time: dk, dv, and the cotangent of the state that the
             prefix left, which is that of the initial state as well
    dprefix  dk_enc and dv_enc from that cotangent, all chunks in parallel

A program of the first two scans the chunks of 128 positions of one head and 64
values of it, with four warpgroups:

    0     state   features of the chunk; adds them to the state, which it keeps
                  in registers, and publishes what the next chunk reads
    1, 2  rows    gradients of the first and of the second 64 positions
    3     TMA     loads chunks into a ring of `stages` buffers

and these barriers. Who waits for a barrier waits for all phases of it, so that
rows of dq wait for chunks of the prefix too; and somebody waits for the last
phases, at the end.

    full, full_q    TMA has filled a stage: with k and v; with all other arrays
    empty, empty_q  the readers of these have done with the stage. dq has only
                    the first one, for all arrays
    ready           a published state may be read, in one of two slots
    free            both row warpgroups have done with a slot
    constants       the selection matrix is there
    finish          nobody leaves before all have come: a warpgroup that exits
                    while others use the tensor cores has been seen to crash

A program of dprefix has two row warpgroups that load what they need themselves.

With more than 64 values, programs compute partial sums of dq and dk, which are
added afterwards: every term is a sum over values, d included.
"""

import dataclasses
import functools
import math
import types
from typing import Any

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention import roll_algebra
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

_SQUARE = ROWS, ROWS
_VALUES = ROWS, VALUE_TILE
_KEYS = ROWS, D
_STATE = VALUE_TILE, NUM_FEATURES


@dataclasses.dataclass(frozen=True)
class BackwardConfig:
  """What can be tuned; ValueError for what no Hopper GPU can take.

  Attributes:
    stages: chunks in shared memory at a time, of dq and of dkv.
    dq_registers: of each thread of the producer, of the state warpgroup and of
      both row warpgroups.
    dkv_registers: the same for the second launch.
    prefix_chunks: chunks of the prefix that one program visits, at most.
  """

  stages: int = 2
  dq_registers: tuple[int, int, int] = (24, 168, 160)
  dkv_registers: tuple[int, int, int] = (24, 200, 144)
  prefix_chunks: int = 4

  def __post_init__(self):
    for name in ('stages', 'prefix_chunks'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be at least 1, got {self!r}')
    blocks.check_registers(*self.dq_registers)
    blocks.check_registers(*self.dkv_registers)
    for scratch in (_dq_scratch, _dkv_scratch):
      blocks.check_shared_memory(scratch(self.stages, V=2 * VALUE_TILE))


def backward(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    k_enc: jax.Array | None,
    v_enc: jax.Array | None,
    prefix_len: jax.Array | None,
    kv_t: jax.Array | None,
    gram: jax.Array | None,
    y: jax.Array,
    inv_z: jax.Array,
    dy: jax.Array,
    dkv_t: jax.Array | None,
    dgram: jax.Array | None,
    *,
    config: BackwardConfig,
    interpret: Any = None,
) -> tuple[jax.Array | None, ...]:
  """Computes all cotangents.

  Args:
    q, k: bfloat16 [B, L, H, 16]; L is a multiple of 128, as P is.
    v: bfloat16 [B, L, H, V], V a multiple of 16.
    k_enc, v_enc: bfloat16 [B, P, H, 16] and [B, P, H, V], or None.
    prefix_len: int32 [B], or None without a prefix.
    kv_t, gram: float32 [B, H, V, 160] and [B, H, 64, 32], the initial state, or
      None for zeros.
    y: bfloat16 [B, L, H, V], the outputs.
    inv_z: float32 [B, H, L], 1 / z of every position, finite.
    dy: bfloat16 [B, L, H, V]. It has to be 0 in rows that are no tokens, which
      then change nothing; their own gradients mean nothing.
    dkv_t, dgram: cotangents of the final state, or None for zeros; `dgram` is
      symmetric in its first 16 rows and columns, as `unpack_state` makes it.
    config: what is tuned.
    interpret: `InterpretGPUParams` to run without a GPU.

  Returns:
    dq, dk, dv, dk_enc, dv_enc (bfloat16; None without a prefix), and the
    cotangents of the initial `kv_t` and `gram`, float32.

  Raises:
    ValueError: a length or a width is not such a multiple.
  """
  B, L, H, V = v.shape
  P = 0 if k_enc is None else k_enc.shape[1]
  _check_sizes(L=L, P=P, D=q.shape[-1], V=V)
  tiles = pl.cdiv(V, VALUE_TILE)
  kv_t, gram = _whole_tiles(kv_t, gram, B, H, V)
  dkv_t, dgram = _whole_tiles(dkv_t, dgram, B, H, V)
  moments = roll_algebra.moments_from_dgram(dgram)[None]
  moments = jnp.pad(moments, [(0, tiles - 1)] + [(0, 0)] * 4)

  run = functools.partial(_launch, tiles=tiles, interpret=interpret)
  causal = {'q': q, 'k': k, 'v': v, 'dy': dy, 'inv_z': inv_z}
  prefix = {}
  if P:
    prefix = {'k_enc': k_enc, 'v_enc': v_enc, 'prefix_len': prefix_len}
  first = {'kv_t': kv_t, 'gram': gram}
  dq, d = _dq(run, causal | {'y': y} | first | prefix, config)
  last = {'dkv_t_end': dkv_t, 'moments_end': moments}
  dk, dv, dkv_t, moments = _dkv(run, causal | {'d': d} | last, config)
  dk_enc = dv_enc = None
  if P:
    state = {'dkv_t': dkv_t, 'moments': moments}
    dk_enc, dv_enc = _dprefix(run, prefix | state, config)
    dk_enc = _sum_tiles(dk_enc)
  dgram = roll_algebra.dgram_from_moments(moments.sum(0))
  dq, dk = _sum_tiles(dq), _sum_tiles(dk)
  return dq, dk, dv, dk_enc, dv_enc, dkv_t[:, :, :V], dgram


def _check_sizes(*, L, P, D, V):
  for name, size, unit in (('L', L, CHUNK), ('P', P, CHUNK), ('V', V, 16)):
    if size % unit:
      raise ValueError(f'{name} must be a multiple of {unit}, got {size}')
  if D != blocks.D:
    raise ValueError(f'D must be {blocks.D}, got {D}')


def _whole_tiles(kv_t, gram, B, H, V):
  """A state, or zeros in place of None, with as many values as tiles have."""
  if kv_t is None:
    kv_t = jnp.zeros((B, H, V, NUM_FEATURES), F32)
    gram = jnp.zeros((B, H, *GRAM_SHAPE), F32)
  return jnp.pad(kv_t, [(0, 0), (0, 0), (0, -V % VALUE_TILE), (0, 0)]), gram


def _sum_tiles(x):
  """Adds up [tiles, B, L, H, 16]."""
  return x.sum(0).astype(BF16)


def _partial_sums(like, V):
  """One array like that for each tile, float32 if they have to be added up."""
  tiles = pl.cdiv(V, VALUE_TILE)
  dtype = F32 if tiles > 1 else BF16
  return jax.ShapeDtypeStruct((tiles, *like.shape), dtype)


def _launch(body, grid, inputs, outputs, scratch, *, tiles, threads, interpret):
  """Runs `body(p)` in every program and returns the outputs.

  `p` has by name the arrays of `inputs` and `outputs`, those of `scratch`, and
  the place in the grid, of which tiles of values are the last axis.
  """
  grid = grid | {'tile': tiles}

  def kernel(*refs, **scratch):
    arrays = dict(zip([*inputs, *outputs], refs))
    p = types.SimpleNamespace(**arrays, **scratch)
    for axis in (*grid, 'warpgroup'):
      setattr(p, axis, lax.axis_index(axis))
    p.columns = pl.ds(p.tile * VALUE_TILE, VALUE_TILE)
    p.emulate = interpret is not None
    p.mma = functools.partial(blocks.mma, p.emulate)
    body(p)

  kernel.__name__ = f'prefix_linear_attention_{body.__name__}'
  return plgpu.kernel(
      kernel,
      out_type=tuple(outputs.values()),
      scratch_types=scratch,
      grid=tuple(grid.values()),
      grid_names=tuple(grid),
      num_threads=threads,
      thread_name='warpgroup',
      **({} if interpret is None else {'interpret': interpret}),
  )(*inputs.values())


def _run_roles(p, registers, producer, state, rows):
  """Gives the four warpgroups of a program their roles."""
  few, many, rest = registers

  @pl.when(p.warpgroup == 3)
  def _():
    plgpu.set_max_registers(few, action='decrease')
    producer(p)

  @pl.when(p.warpgroup == 0)
  def _():
    plgpu.set_max_registers(many, action='increase')
    state(p)

  for half in range(2):

    @pl.when(p.warpgroup == 1 + half)
    def _(half=half):
      plgpu.set_max_registers(rest, action='increase')
      rows(p, half)

  plgpu.barrier_arrive(p.finish)
  plgpu.barrier_wait(p.finish)


def _buffers(V):
  """Constructors of bfloat16 buffers: of any kind, and of tiles of values.

  TMA clips the last tile if it is not full, by whole units of the swizzle; and
  both operands of a wgmma must have the same swizzle.
  """
  transforms = ()
  if V % VALUE_TILE:
    transforms = plgpu.TilingTransform((8, 16)), plgpu.SwizzleTransform(32)
  plain = lambda *shape: plgpu.SMEM(shape, BF16)
  tiled = lambda *shape: plgpu.SMEM(shape, BF16, transforms=transforms)
  return plain, tiled


def _scan_scratch(stages, tiled, plain):
  """What both scans have: the published states and their barriers."""
  return {
      'features': tiled(CHUNK, NUM_FEATURES),
      'published_kv_t': tiled(2, *_STATE),
      'published_gram_hi': plain(2, *GRAM_SHAPE),
      'published_gram_lo': plain(2, *GRAM_SHAPE),
      'selection': plain(*_KEYS),
      'full': plgpu.Barrier(num_arrivals=2, num_barriers=stages),
      'full_q': plgpu.Barrier(num_arrivals=4, num_barriers=stages),
      'constants': plgpu.Barrier(num_arrivals=1),
      'ready': plgpu.Barrier(num_arrivals=1, num_barriers=2),
      'free': plgpu.Barrier(num_arrivals=2, num_barriers=2),
      'finish': plgpu.Barrier(num_arrivals=4),
  }


def _prefix_length(p, P):
  return lax.clamp(I32(0), p.prefix_len[p.row], I32(P))


def _ring(i, size):
  """Which of `size` buffers the i-th chunk uses."""
  return lax.rem(i, I32(size))


def _traced_zero(p):
  """A Python number does not lower as an index of a buffer here."""
  return p.row * 0


def _drain(barrier, count, size):
  """Observes the last phases of a ring that `count` chunks have used."""

  def wait(i, _):
    plgpu.barrier_wait(barrier.at[_ring(i, size)])

  lax.fori_loop(lax.max(count - I32(size), I32(0)), count, wait, None)


def _upper(x):
  """Zeroes a block on the diagonal where the row is after the column."""
  see = blocks.iota(_SQUARE, 0) <= blocks.iota(_SQUARE, 1)
  return jnp.where(see, x, F32(0))


def _lower(x):
  """Zeroes a block on the diagonal where the column is after the row."""
  see = blocks.iota(_SQUARE, 0) >= blocks.iota(_SQUARE, 1)
  return jnp.where(see, x, F32(0))


def _publish_selection(p):
  p.selection[...] = blocks.selection()
  plgpu.commit_smem()
  plgpu.barrier_arrive(p.constants)


def _publish(p, corner, i, state):
  """Hands the state over that the i-th chunk reads."""
  slot = _ring(i, 2)

  @pl.when(i >= 2)
  def _():
    plgpu.barrier_wait(p.free.at[slot])

  refs = p.published_kv_t, p.published_gram_hi, p.published_gram_lo
  blocks.publish(*state, corner, *(ref.at[slot] for ref in refs))
  plgpu.barrier_arrive(p.ready.at[slot])


def _from_state(p, values, slot):
  """The cotangent of features, values @ state, of some columns at a time."""

  def columns(start, count):
    state = p.published_kv_t.at[slot, :, pl.ds(start, count)]
    return p.mma(None, (ROWS, count), (values, state))

  return columns


# dq: forward in time.


def _dq_scratch(stages, V):
  plain, tiled = _buffers(V)
  partial = F32 if V > VALUE_TILE else BF16
  return _scan_scratch(stages, tiled, plain) | {
      'q_stage': plain(stages, CHUNK, D),
      'k_stage': plain(stages, CHUNK, D),
      'v_stage': tiled(stages, CHUNK, VALUE_TILE),
      'dy_stage': tiled(stages, CHUNK, VALUE_TILE),
      'y_stage': tiled(stages, CHUNK, VALUE_TILE),
      'inv_z_stage': plgpu.SMEM((stages, CHUNK), F32),
      'dq_stage': plgpu.SMEM((2, *_KEYS), partial),
      'd_stage': plgpu.SMEM((2, ROWS), F32),
      'empty': plgpu.Barrier(num_arrivals=3, num_barriers=stages),
  }


def _dq(run, arrays, config):
  """Returns dq [tiles, B, L, H, 16] and d [tiles, B, H, L]."""
  q, inv_z, V = arrays['q'], arrays['inv_z'], arrays['v'].shape[-1]
  B, L, H, _ = q.shape

  def dq(p):
    p.stages, p.chunks = config.stages, L // CHUNK
    p.has_prefix = 'k_enc' in arrays
    p.prefix = _prefix_length(p, p.k_enc.shape[1]) if p.has_prefix else I32(0)
    p.prefix_chunks = lax.div(p.prefix + I32(CHUNK - 1), I32(CHUNK))
    registers = config.dq_registers
    _run_roles(p, registers, _dq_producer, _dq_state, _dq_rows)

  d = jax.ShapeDtypeStruct((pl.cdiv(V, VALUE_TILE), *inv_z.shape), F32)
  outputs = {'dq': _partial_sums(q, V), 'd': d}
  scratch = _dq_scratch(config.stages, V)
  return run(dq, {'row': B, 'head': H}, arrays, outputs, scratch, threads=4)


def _dq_producer(p):
  """Loads the chunks of the prefix and then the others."""
  total = p.prefix_chunks + I32(p.chunks)

  def load_keys(k, v, rows, stage):
    full = p.full.at[stage]
    k, v = k.at[p.row, rows, p.head], v.at[p.row, rows, p.head, p.columns]
    plgpu.copy_gmem_to_smem(k, p.k_stage.at[stage], full)
    plgpu.copy_gmem_to_smem(v, p.v_stage.at[stage], full)

  def load_prefix(i, stage):
    load_keys(p.k_enc, p.v_enc, pl.ds(i * CHUNK, CHUNK), stage)

  def load(i, stage):
    rows, full_q = pl.ds(i * CHUNK, CHUNK), p.full_q.at[stage]
    load_keys(p.k, p.v, rows, stage)
    at = p.row, rows, p.head
    for source, target in (
        (p.q.at[at], p.q_stage),
        (p.dy.at[*at, p.columns], p.dy_stage),
        (p.y.at[*at, p.columns], p.y_stage),
        (p.inv_z.at[p.row, p.head, rows], p.inv_z_stage),
    ):
      plgpu.copy_gmem_to_smem(source, target.at[stage], full_q)

  def step(c, _):
    stage = _ring(c, p.stages)

    @pl.when(c >= p.stages)
    def _():
      plgpu.barrier_wait(p.empty.at[stage])

    if p.has_prefix:
      pl.when(c < p.prefix_chunks)(lambda: load_prefix(c, stage))
    pl.when(c >= p.prefix_chunks)(lambda: load(c - p.prefix_chunks, stage))

  lax.fori_loop(I32(0), total, step, None)
  _drain(p.empty, total, p.stages)


def _dq_state(p):
  """Recomputes the states and publishes the one that reaches each chunk."""
  _publish_selection(p)
  corner = blocks.gram_corner()

  def read_prefix(c, state):
    return _add_keys(p, _ring(c, p.stages), state, p.prefix - c * CHUNK)

  def read(i, state):
    state = _add_keys(p, _ring(i + p.prefix_chunks, p.stages), state)
    _publish(p, corner, i + 1, state)
    return state

  state = (
      blocks.load_global(p.kv_t.at[p.row, p.head, p.columns]),
      blocks.load_global(p.gram.at[p.row, p.head]),
  )
  state = lax.fori_loop(I32(0), p.prefix_chunks, read_prefix, state)
  _publish(p, corner, _traced_zero(p), state)
  last = I32(p.chunks - 1)  # no chunk needs the state after it
  lax.fori_loop(I32(0), last, read, state)
  stage = _ring(last + p.prefix_chunks, p.stages)
  plgpu.barrier_wait(p.full.at[stage])
  plgpu.barrier_arrive(p.empty.at[stage])
  _drain(p.free, I32(p.chunks), 2)


def _add_keys(p, stage, state, limit=None):
  """The state after a chunk, of which rows from `limit` on are no tokens."""
  plgpu.barrier_wait(p.full.at[stage])
  state = blocks.add_keys(
      state,
      p.k_stage.at[stage],
      p.v_stage.at[stage],
      p.features,
      p.selection,
      limit=limit,
      emulate=p.emulate,
  )
  blocks.release(p.empty.at[stage], p.emulate)
  return state


def _dq_rows(p, half):
  """dq and d of 64 positions of each chunk."""
  plgpu.barrier_wait(p.constants)

  def skip(c, _):
    stage = _ring(c, p.stages)
    plgpu.barrier_wait(p.full.at[stage])
    plgpu.barrier_arrive(p.empty.at[stage])

  def step(i, _):
    stage, slot = _ring(i + p.prefix_chunks, p.stages), _ring(i, 2)
    rows = pl.ds(half * ROWS, ROWS)
    plgpu.barrier_wait(p.full.at[stage])
    plgpu.barrier_wait(p.full_q.at[stage])
    q = p.q_stage.at[stage, rows]
    dy = blocks.load(p.dy_stage.at[stage, rows]).astype(F32)
    inv_z = blocks.load(p.inv_z_stage.at[stage, rows], PER_ROW)
    y = blocks.load(p.y_stage.at[stage, rows]).astype(F32)
    d = jnp.sum(dy * y, axis=1)
    delta = d * inv_z
    g = (dy * blocks.broadcast_rows(inv_z, _VALUES)).astype(BF16)
    dx = _dq_inside(p, half, stage, q, g, delta)

    x = blocks.load(q) * BF16(0.25)
    rolls = blocks.rolled(q, p.selection, p.emulate) * F32(0.25)
    plgpu.barrier_wait(p.ready.at[slot])
    grams = p.published_gram_hi.at[slot], p.published_gram_lo.at[slot]
    t = blocks.gram_product(x, *grams, p.emulate)
    dx -= t[:, :D] * blocks.broadcast_rows(delta, _KEYS)
    from_state = _from_state(p, g, slot)
    direct, back = blocks.features_vjp(from_state, x.astype(F32), rolls, 1.0)
    plgpu.commit_smem()  # threads have read what TMA will overwrite
    plgpu.barrier_arrive(p.free.at[slot])
    plgpu.barrier_arrive(p.empty.at[stage])
    dx = p.mma(dx + direct, _KEYS, (back, p.selection))

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


def _dq_inside(p, half, stage, q, g, delta):
  """What the keys of the same chunk contribute to the cotangent of q / 4."""
  dx = None
  for j in range(half + 1):
    rows = pl.ds(j * ROWS, ROWS)
    k, v = p.k_stage.at[stage, rows], p.v_stage.at[stage, rows]
    a = p.mma(None, _SQUARE, (g, Transposed(v)))
    a -= blocks.broadcast_rows(delta, _SQUARE)
    s = p.mma(None, _SQUARE, (q, Transposed(k)))
    ds = a * (s * F32(0.25) + F32(1))
    ds = _lower(ds) if j == half else ds
    dx = p.mma(dx, _KEYS, (ds.astype(BF16), k))
  return dx


# dk and dv: backward in time.


def _dkv_scratch(stages, V):
  plain, tiled = _buffers(V)
  partial = F32 if V > VALUE_TILE else BF16
  return _scan_scratch(stages, tiled, plain) | {
      'q_stage': plain(stages, CHUNK, D),
      'k_stage': plain(stages, CHUNK, D),
      'v_stage': tiled(stages, CHUNK, VALUE_TILE),
      'dy_stage': tiled(stages, CHUNK, VALUE_TILE),
      'inv_z_stage': plgpu.SMEM((stages, CHUNK), F32),
      'd_stage': plgpu.SMEM((stages, CHUNK), F32),
      'weighted': tiled(CHUNK, GRAM_SHAPE[1]),
      'dk_stage': plgpu.SMEM((2, *_KEYS), partial),
      'dv_stage': tiled(2, *_VALUES),
      'empty': plgpu.Barrier(num_arrivals=2, num_barriers=stages),
      'empty_q': plgpu.Barrier(num_arrivals=3, num_barriers=stages),
  }


def _dkv(run, arrays, config):
  """Returns dk [tiles, B, L, H, 16], dv, and what the prefix needs.

  That is dkv_t [B, H, V, 160], with V filled up to whole tiles, and the moments
  [tiles, B, H, 64, 32].
  """
  k, v, V = arrays['k'], arrays['v'], arrays['v'].shape[-1]
  B, L, H, _ = k.shape

  def dkv(p):
    p.stages, p.chunks = config.stages, L // CHUNK
    registers = config.dkv_registers
    _run_roles(p, registers, _dkv_producer, _dkv_state, _dkv_rows)

  outputs = {
      'dk': _partial_sums(k, V),
      'dv': jax.ShapeDtypeStruct(v.shape, BF16),
      'dkv_t': jax.ShapeDtypeStruct(arrays['dkv_t_end'].shape, F32),
      'moments': jax.ShapeDtypeStruct(arrays['moments_end'].shape, F32),
  }
  scratch = _dkv_scratch(config.stages, V)
  return run(dkv, {'row': B, 'head': H}, arrays, outputs, scratch, threads=4)


def _dkv_producer(p):
  """Loads the chunks, the last one first."""

  def step(c, _):
    stage = _ring(c, p.stages)
    full, full_q = p.full.at[stage], p.full_q.at[stage]
    rows = pl.ds((p.chunks - 1 - c) * CHUNK, CHUNK)

    @pl.when(c >= p.stages)
    def _():
      plgpu.barrier_wait(p.empty.at[stage])
      plgpu.barrier_wait(p.empty_q.at[stage])

    at = p.row, rows, p.head
    for source, target, barrier in (
        (p.k.at[at], p.k_stage, full),
        (p.v.at[*at, p.columns], p.v_stage, full),
        (p.q.at[at], p.q_stage, full_q),
        (p.dy.at[*at, p.columns], p.dy_stage, full_q),
        (p.inv_z.at[p.row, p.head, rows], p.inv_z_stage, full_q),
        (p.d.at[p.tile, p.row, p.head, rows], p.d_stage, full_q),
    ):
      plgpu.copy_gmem_to_smem(source, target.at[stage], barrier)

  total = I32(p.chunks)
  lax.fori_loop(I32(0), total, step, None)
  _drain(p.empty, total, p.stages)
  _drain(p.empty_q, total, p.stages)


def _dkv_state(p):
  """Adds up the cotangent of the state and publishes it before each chunk."""
  _publish_selection(p)
  corner = blocks.gram_corner()

  def read(c, state):
    stage = _ring(c, p.stages)
    plgpu.barrier_wait(p.full_q.at[stage])
    state = _add_queries(p, stage, state)
    pl.when(c + 1 < p.chunks)(lambda: _publish(p, corner, c + 1, state))
    return state

  dkv_t = p.row, p.head, p.columns
  moments = p.tile, p.row, p.head
  state = (
      blocks.load_global(p.dkv_t_end.at[dkv_t]),
      blocks.load_global(p.moments_end.at[moments]),
  )
  _publish(p, corner, _traced_zero(p), state)
  state = lax.fori_loop(I32(0), I32(p.chunks), read, state)
  p.dkv_t.at[dkv_t][...], p.moments.at[moments][...] = state
  _drain(p.free, I32(p.chunks), 2)


def _add_queries(p, stage, state):
  """The cotangent of the state before a chunk.

  1 / z is a factor of the features, once each; dy needs no scaled copy then.
  """
  dkv_t, moments = state
  for half in range(2):
    rows = pl.ds(half * ROWS, ROWS)
    q = p.q_stage.at[stage, rows]
    rolls = blocks.rolled(q, p.selection, p.emulate).astype(BF16)
    x = blocks.load(q).astype(F32) * F32(0.25)
    inv_z = blocks.load(p.inv_z_stage.at[stage, rows], PER_ROW)
    inv_z = blocks.broadcast_rows(inv_z, _KEYS)
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
  dkv_t = p.mma(dkv_t, _STATE, (Transposed(p.dy_stage.at[stage]), p.features))
  some = p.features.at[:, pl.ds(0, GRAM_SHAPE[0])]
  moments = p.mma(moments, GRAM_SHAPE, (Transposed(some), p.weighted))
  blocks.release(p.empty_q.at[stage], p.emulate)
  return dkv_t, moments


def _dkv_rows(p, half):
  """dk and dv of 64 positions of each chunk.

  dv is finished first, and k qᵀ computed again for dk: both at a time need more
  registers than there are.
  """
  plgpu.barrier_wait(p.constants)
  rows = pl.ds(half * ROWS, ROWS)

  def step(c, _):
    stage, slot = _ring(c, p.stages), _ring(c, 2)
    k, v = p.k_stage.at[stage, rows], p.v_stage.at[stage, rows]
    plgpu.barrier_wait(p.full.at[stage])
    plgpu.barrier_wait(p.full_q.at[stage])
    dv = _dv_inside(p, half, stage, k)
    plgpu.barrier_wait(p.ready.at[slot])
    _finish_dv(p, half, slot, k, dv)
    dk = _dk_inside(p, half, stage, k, v)
    plgpu.commit_smem()  # threads have read what TMA will overwrite
    plgpu.barrier_arrive(p.empty_q.at[stage])
    _finish_dk(p, half, slot, k, v, dk)
    plgpu.commit_smem()
    first = (p.chunks - 1 - c) * CHUNK + half * ROWS
    at = p.row, pl.ds(first, ROWS), p.head
    plgpu.copy_smem_to_gmem(p.dk_stage.at[half], p.dk.at[p.tile, *at])
    plgpu.copy_smem_to_gmem(p.dv_stage.at[half], p.dv.at[*at, p.columns])
    plgpu.barrier_arrive(p.free.at[slot])
    plgpu.barrier_arrive(p.empty.at[stage])

  lax.fori_loop(I32(0), I32(p.chunks), step, None)
  plgpu.wait_smem_to_gmem(0)


def _dv_inside(p, half, stage, k):
  """What the queries of the same chunk contribute to dv."""
  dv = None
  for i in range(half, 2):
    rows = pl.ds(i * ROWS, ROWS)
    q, dy = p.q_stage.at[stage, rows], p.dy_stage.at[stage, rows]
    inv_z = blocks.load(p.inv_z_stage.at[stage, rows], PER_COLUMN)
    s = p.mma(None, _SQUARE, (k, Transposed(q)))
    weights = s * (s * F32(1 / 32) + F32(0.25)) + F32(1)
    weights *= blocks.broadcast_columns(inv_z, _SQUARE)
    weights = _upper(weights) if i == half else weights
    dv = p.mma(dv, _VALUES, (weights.astype(BF16), dy))
  return dv


def _dk_inside(p, half, stage, k, v):
  """What the queries of the same chunk contribute to dk."""
  dk = None
  for i in range(half, 2):
    rows = pl.ds(i * ROWS, ROWS)
    q, dy = p.q_stage.at[stage, rows], p.dy_stage.at[stage, rows]
    inv_z = blocks.load(p.inv_z_stage.at[stage, rows], PER_COLUMN)
    d = blocks.load(p.d_stage.at[stage, rows], PER_COLUMN)
    a = p.mma(None, _SQUARE, (v, Transposed(dy)))
    a -= blocks.broadcast_columns(d, _SQUARE)
    s = p.mma(None, _SQUARE, (k, Transposed(q)))
    ds = a * (s * F32(1 / 16) + F32(0.25))
    ds *= blocks.broadcast_columns(inv_z, _SQUARE)
    ds = _upper(ds) if i == half else ds
    dk = p.mma(dk, _KEYS, (ds.astype(BF16), q))
  return dk


def _finish_dv(p, half, slot, k, dv, limit=None):
  """Adds what the state contributes to dv; rows from `limit` on become 0."""
  rolls = blocks.rolled(k, p.selection, p.emulate).astype(BF16)
  phi = blocks.feature_blocks(blocks.load(k), rolls, blocks.ones())
  phi = jnp.concatenate(phi, axis=1)
  dv = p.mma(dv, _VALUES, (phi, Transposed(p.published_kv_t.at[slot])))
  if limit is not None:
    dv = jnp.where(blocks.first_rows(_VALUES, limit), dv, F32(0))
  plgpu.wait_smem_to_gmem(0, wait_read_only=True)
  p.dv_stage[half] = dv.astype(BF16)


def _finish_dk(p, half, slot, k, v, dk, limit=None):
  """Adds what the state contributes to dk; rows from `limit` on become 0."""
  x = blocks.load(k)
  rolls = blocks.rolled(k, p.selection, p.emulate)
  grams = p.published_gram_hi.at[slot], p.published_gram_lo.at[slot]
  t = blocks.gram_product(x, *grams, p.emulate)
  dk = -t[:, :D] if dk is None else dk - t[:, :D]
  from_state = _from_state(p, v, slot)
  direct, back = blocks.features_vjp(from_state, x.astype(F32), rolls, 2.0)
  dk = p.mma(dk + direct, _KEYS, (back, p.selection))
  if limit is not None:
    dk = jnp.where(blocks.first_rows(_KEYS, limit), dk, F32(0))
  p.dk_stage[half] = dk.astype(p.dk_stage.dtype)


# dk_enc and dv_enc: all chunks of the prefix in parallel.


def _dprefix_scratch(V):
  plain, tiled = _buffers(V)
  partial = F32 if V > VALUE_TILE else BF16
  return {
      'k_stage': plain(2, 2, *_KEYS),  # warpgroup, slot
      'v_stage': tiled(2, 2, *_VALUES),
      'published_kv_t': tiled(1, *_STATE),
      'published_gram_hi': plain(1, *GRAM_SHAPE),
      'published_gram_lo': plain(1, *GRAM_SHAPE),
      'selection': plain(*_KEYS),
      'dk_stage': plgpu.SMEM((2, *_KEYS), partial),
      'dv_stage': tiled(2, *_VALUES),
      'full': plgpu.Barrier(num_arrivals=2, num_barriers=(2, 2)),
      'ready': plgpu.Barrier(num_arrivals=2),
      'finish': plgpu.Barrier(num_arrivals=2),
  }


def _dprefix(run, arrays, config):
  """Returns dk_enc [tiles, B, P, H, 16] and dv_enc."""
  k_enc, v_enc, V = arrays['k_enc'], arrays['v_enc'], arrays['v_enc'].shape[-1]
  B, P, H, _ = k_enc.shape
  chunks = math.gcd(P // CHUNK, config.prefix_chunks)

  def dprefix(p):
    p.chunks = chunks
    _dprefix_rows(p)

  outputs = {
      'dk': _partial_sums(k_enc, V),
      'dv': jax.ShapeDtypeStruct(v_enc.shape, BF16),
  }
  grid = {'row': B, 'head': H, 'group': P // (chunks * CHUNK)}
  return run(dprefix, grid, arrays, outputs, _dprefix_scratch(V), threads=2)


def _dprefix_rows(p):
  """dk_enc and dv_enc of 64 positions of each chunk of a group."""
  prefix = _prefix_length(p, p.k_enc.shape[1])
  first = p.group * (p.chunks * CHUNK) + p.warpgroup * ROWS
  count = lax.div(prefix - first + I32(CHUNK - 1), I32(CHUNK))
  count = lax.min(lax.max(count, I32(0)), I32(p.chunks))

  def fetch(c):
    slot, at = _ring(c, 2), (p.row, pl.ds(first + c * CHUNK, ROWS), p.head)
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
    slot, limit = _ring(c, 2), prefix - first - c * CHUNK
    plgpu.commit_smem()  # the slot to be filled has been read
    pl.when(c + 1 < count)(lambda: fetch(c + 1))
    plgpu.barrier_wait(p.full.at[p.warpgroup, slot])
    k, v = p.k_stage.at[p.warpgroup, slot], p.v_stage.at[p.warpgroup, slot]
    _finish_dv(p, p.warpgroup, 0, k, None, limit)
    _finish_dk(p, p.warpgroup, 0, k, v, None, limit)
    write(c)

  # A loop of its own: ptxas serialises wgmma that is under a condition.
  def beyond(c, _):
    plgpu.wait_smem_to_gmem(0, wait_read_only=True)
    p.dv_stage[p.warpgroup] = blocks.zeros(_VALUES).astype(BF16)
    p.dk_stage[p.warpgroup] = blocks.zeros(_KEYS).astype(p.dk_stage.dtype)
    write(c)

  pl.when(count > 0)(lambda: fetch(I32(0)))
  _load_total(p)
  lax.fori_loop(I32(0), count, inside, None)
  lax.fori_loop(count, I32(p.chunks), beyond, None)
  plgpu.wait_smem_to_gmem(0)
  plgpu.barrier_arrive(p.finish)
  plgpu.barrier_wait(p.finish)


def _load_total(p):
  """Puts the cotangent of the state where both warpgroups read it."""

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
