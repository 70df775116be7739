"""Prefix linear attention on Hopper, forward: one launch of Pallas Mosaic GPU.

With the features φ of `roll_features.py`, chunks of 128 tokens, and the state
(S, G) that holds all before chunk i, the prefix first:

    P = 1 + s + s²/2 for s = q kᵀ / 4, where the chunk's causal mask allows
    y = (P v + φ_q S) / z,  z = the sum of the rows of P + [x/2, 1] G [x, 1]ᵀ
    S += φ_kᵀ v,  G += φ_kᵀ φ_k, of which z needs only the corner; x = q / 4

A program is one row of the batch, one head and 64 values. Its warpgroups are

    0  state     keeps Sᵀ and G in registers and publishes them for each chunk
    1  rows      outputs of the first 64 tokens of a chunk
    2  rows      of the other 64
    3  producer  copies chunks to shared memory: k_enc, v_enc, then q, k, v

and what they tell each other (stages and both buffers are used in turn):

    full[stage]     k and v have arrived
    full_q[stage]   q has arrived; there is none for the prefix
    empty[stage]    state and rows have read all three. Rows wait for chunks of
                    the prefix too, so that everybody counts the same phases
    constants       the selection matrices are in shared memory
    ready[buffer]   a state is published; chunk i reads buffer i % 2
    free[buffer]    both row warpgroups have read it
    finish          all are done: nobody leaves while others use tensor cores

With packed documents or padding, `full` announces the ends and `full_q` the
starts of `mosaic_sm90_documents` too; and the state waits for `full_q`.

Every completed phase of a barrier has somebody who waits for it, up to the end.
Only the chunks that `prefix_len` reaches are copied. The state is published at
the end of an iteration: at its start, ptxas copies all accumulators.
"""

import dataclasses
import functools
import types
from typing import Any

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as documents_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_limits as limits
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import (
    BF16,
    CHUNK,
    D,
    F32,
    GRAM_SHAPE,
    I32,
    mma,
    NUM_FEATURES,
    ROWS,
    Transposed,
    VALUE_TILE,
)


@dataclasses.dataclass(frozen=True)
class ForwardConfig:
  """What can be tuned; a ValueError if the hardware cannot take it."""

  stages: int = 3  # chunks in shared memory
  registers: tuple[int, int, int] = 24, 168, 160  # producer, state, each rows

  def __post_init__(self):
    if self.stages < 2:
      raise ValueError(f'stages must be at least 2, got {self.stages}')
    limits.check_registers(*self.registers)
    scratch = _scratch(self.stages, V=VALUE_TILE, documents=True)
    limits.check_shared_memory(scratch)


def forward(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    k_enc: jax.Array | None,
    v_enc: jax.Array | None,
    prefix_len: jax.Array | None,
    kv_t: jax.Array | None,
    gram: jax.Array | None,
    documents: documents_lib.Documents | None = None,
    *,
    config: ForwardConfig,
    normalizer: str = 'sum',
    length: int | None = None,
    return_state: bool = True,
    interpret: Any = None,
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]:
  """Outputs, what they were divided by, and the final state.

  Args:
    q, k: bfloat16 [B, L, H, 16]; L is a multiple of 128.
    v: bfloat16 [B, L, H, V]; V is a multiple of 16.
    k_enc, v_enc: bfloat16 [B, P, H, 16] and [B, P, H, V], P a multiple of 128;
      or None.
    prefix_len: int32 [B] from 0 to P, how many of the P positions are prefix;
      None if they are.
    kv_t, gram: the state before the first token, float32 [B, H, V, 160] and
      [B, H, 64, 32], as `roll_features.pack_state` returns it; None for zeros.
    documents: packed documents and padding, of which there are none if None.
    config: what can be tuned.
    normalizer: one of `inputs.NORMALIZERS`.
    length: tokens from there on do not enter the final state; L if left out.
      With `documents`, padding is said there instead.
    return_state: whether the final state is written.
    interpret: `plgpu.InterpretGPUParams`, to run without a GPU.

  Returns:
    y bfloat16 [B, L, H, V]; inv_z float32 [B, H, L], one over what each token
    was divided by, with 'sum' the sum of its weights; kv_t and gram after the
    last token, or None.

  Raises:
    ValueError: L, P, D or V is not as said above.
  """
  B, L, H, V = v.shape
  P = 0 if k_enc is None else k_enc.shape[1]
  limits.check_sizes(L=L, P=P, D=q.shape[-1], V=V)
  tiles = -(-V // VALUE_TILE)
  spare = tiles * VALUE_TILE - V
  inputs = {'q': q, 'k': k, 'v': v}
  if P:
    inputs |= {'k_enc': k_enc, 'v_enc': v_enc, 'prefix_len': prefix_len}
  if kv_t is not None:
    kv_t = jnp.pad(kv_t, ((0, 0), (0, 0), (0, spare), (0, 0)))
    inputs |= {'kv_t': kv_t, 'gram': gram}
  if documents is not None:
    inputs |= {'start': documents.start, 'end': documents.end}
    if P:
      inputs['end_enc'] = documents.end_enc
  outputs = {
      'y': jax.ShapeDtypeStruct((B, L, H, V), BF16),
      'inv_z': jax.ShapeDtypeStruct((B, H, L), F32),
  }
  if return_state:
    final = B, H, tiles * VALUE_TILE, NUM_FEATURES
    outputs['final_kv_t'] = jax.ShapeDtypeStruct(final, F32)
    outputs['final_gram'] = jax.ShapeDtypeStruct((B, H, *GRAM_SHAPE), F32)

  def prefix_linear_attention_forward(*refs, **scratch):
    arrays = dict(zip([*inputs, *outputs], refs))
    _run_warpgroup(
        _Program(
            config=config,
            emulate=interpret is not None,
            normalizer=normalizer,
            L=L,
            P=P,
            length=L if length is None else length,
            has_state='kv_t' in inputs,
            return_state=return_state,
            has_documents=documents is not None,
            **arrays,
            **scratch,
        )
    )

  kernel = plgpu.kernel(
      prefix_linear_attention_forward,
      out_type=tuple(outputs.values()),
      scratch_types=_scratch(
          config.stages, V=V, documents=documents is not None
      ),
      grid=(B, H, tiles),
      grid_names=('row', 'head', 'tile'),
      num_threads=4,
      thread_name='warpgroup',
      compiler_params=plgpu.CompilerParams(approx_math=True),
      **({} if interpret is None else {'interpret': interpret}),
  )
  y, inv_z, *final = kernel(*inputs.values())
  if not return_state:
    return y, inv_z, None, None
  final_kv_t, final_gram = final
  return y, inv_z, final_kv_t[:, :, :V], final_gram


def _scratch(stages, *, V, documents=False):
  """Buffers in shared memory and barriers, by name."""
  smem, barrier = plgpu.SMEM, plgpu.Barrier
  # Tiles of shared memory must divide V too, if copies are cut off at its end.
  transforms = ()
  if V % VALUE_TILE:
    transforms = plgpu.TilingTransform((8, 16)), plgpu.SwizzleTransform(32)
  values = functools.partial(smem, transforms=transforms)
  spans = documents_lib.scratch(stages) if documents else {}
  return spans | {
      'q_stage': smem((stages, CHUNK, D), BF16),
      'k_stage': smem((stages, CHUNK, D), BF16),
      'v_stage': values((stages, CHUNK, VALUE_TILE), BF16),
      'features': values((CHUNK, NUM_FEATURES), BF16),
      'published_kv_t': smem((2, VALUE_TILE, NUM_FEATURES), BF16),
      'published_gram_hi': smem((2, *GRAM_SHAPE), BF16),
      'published_gram_lo': smem((2, *GRAM_SHAPE), BF16),
      'y_stage': values((2, ROWS, VALUE_TILE), BF16),
      'inv_z_stage': smem((2, ROWS), F32),
      'selection': smem((ROWS, D), BF16),
      'selection_q': smem((ROWS, D), BF16),
      'full': barrier(num_arrivals=3 if spans else 2, num_barriers=stages),
      'full_q': barrier(num_arrivals=2 if spans else 1, num_barriers=stages),
      'empty': barrier(num_arrivals=3, num_barriers=stages),
      'constants': barrier(num_arrivals=1),
      'ready': barrier(num_arrivals=1, num_barriers=2),
      'free': barrier(num_arrivals=2, num_barriers=2),
      'finish': barrier(num_arrivals=4),
  }


class _Program(types.SimpleNamespace):
  """Arrays in both memories, barriers and sizes of a program, by name."""

  def __init__(self, **values):
    super().__init__(**values)
    self.row, self.head = lax.axis_index('row'), lax.axis_index('head')
    self.tile = lax.axis_index('tile')
    self.columns = pl.ds(self.tile * VALUE_TILE, VALUE_TILE)
    self.chunks = self.L // CHUNK
    self.prefix = self.prefix_chunks = I32(0)
    if self.P:
      self.prefix = self.prefix_len[self.row]
      self.prefix_chunks = lax.div(self.prefix + I32(CHUNK - 1), I32(CHUNK))

  def stage(self, chunk):
    return lax.rem(chunk, I32(self.config.stages))


def _run_warpgroup(p):
  """Every warpgroup finds its role."""
  warpgroup = lax.axis_index('warpgroup')
  pl.when(warpgroup == 3)(functools.partial(_producer, p))
  pl.when(warpgroup == 0)(functools.partial(_state, p))
  pl.when(warpgroup == 1)(functools.partial(_rows, p, 0))
  pl.when(warpgroup == 2)(functools.partial(_rows, p, 1))
  plgpu.barrier_arrive(p.finish)
  plgpu.barrier_wait(p.finish)


# The producer. Chunks are counted from the first of the prefix.


def _producer(p):
  """Copies all chunks, as soon as their stage is empty."""
  plgpu.set_max_registers(p.config.registers[0], action='decrease')
  stages, total = p.config.stages, p.prefix_chunks + I32(p.chunks)

  def step(chunk, _):
    stage = p.stage(chunk)

    @pl.when(chunk >= stages)
    def _():
      plgpu.barrier_wait(p.empty.at[stage])

    if p.P:
      pl.when(chunk < p.prefix_chunks)(
          functools.partial(_copy_prefix, p, chunk, stage)
      )
    pl.when(chunk >= p.prefix_chunks)(
        functools.partial(_copy_tokens, p, chunk - p.prefix_chunks, stage)
    )

  def drain(chunk, _):
    plgpu.barrier_wait(p.empty.at[p.stage(chunk)])

  lax.fori_loop(I32(0), total, step, None)
  lax.fori_loop(lax.max(total - stages, I32(0)), total, drain, None)


def _copy_prefix(p, chunk, stage):
  """k_enc and v_enc of a chunk."""
  tokens, full = pl.ds(chunk * CHUNK, CHUNK), p.full.at[stage]
  k = p.k_enc.at[p.row, tokens, p.head]
  v = p.v_enc.at[p.row, tokens, p.head, p.columns]
  plgpu.copy_gmem_to_smem(k, p.k_stage.at[stage], full)
  plgpu.copy_gmem_to_smem(v, p.v_stage.at[stage], full)
  if p.has_documents:
    end = p.end_enc.at[p.row, tokens]
    plgpu.copy_gmem_to_smem(end, p.end_stage.at[stage], full)


def _copy_tokens(p, chunk, stage):
  """q, k and v of a chunk, counted from the first token."""
  tokens, full = pl.ds(chunk * CHUNK, CHUNK), p.full.at[stage]
  q, k = (x.at[p.row, tokens, p.head] for x in (p.q, p.k))
  v = p.v.at[p.row, tokens, p.head, p.columns]
  plgpu.copy_gmem_to_smem(k, p.k_stage.at[stage], full)
  plgpu.copy_gmem_to_smem(v, p.v_stage.at[stage], full)
  plgpu.copy_gmem_to_smem(q, p.q_stage.at[stage], p.full_q.at[stage])
  if p.has_documents:
    start, end = (x.at[p.row, tokens] for x in (p.start, p.end))
    plgpu.copy_gmem_to_smem(end, p.end_stage.at[stage], full)
    plgpu.copy_gmem_to_smem(start, p.start_stage.at[stage], p.full_q.at[stage])


def _skip(p, chunk, *, with_q=False):
  """Leaves a chunk to others; who waits for a barrier waits each time."""
  stage = p.stage(chunk)
  plgpu.barrier_wait(p.full.at[stage])
  if with_q:
    plgpu.barrier_wait(p.full_q.at[stage])
  plgpu.barrier_arrive(p.empty.at[stage])


# The state.


def _state(p):
  """Adds up chunk after chunk; publishes what the next one reads."""
  plgpu.set_max_registers(p.config.registers[1], action='increase')
  p.selection[...] = blocks.selection()
  p.selection_q[...] = blocks.selection(1 / 4)
  plgpu.commit_smem()
  plgpu.barrier_arrive(p.constants)
  corner = blocks.gram_corner()

  def read_prefix(chunk, state):
    stage = p.stage(chunk)
    if p.has_documents:
      counts = documents_lib.entering(p.end_stage.at[stage])
    else:
      counts = blocks.first_tokens(p.prefix - chunk * CHUNK)
    return _update(p, state, stage, counts)

  def read_tokens(i, state):
    counts = None
    if p.length < p.L:
      counts = blocks.first_tokens(p.length - i * CHUNK)
    stage = p.stage(i + p.prefix_chunks)
    if p.has_documents:
      plgpu.barrier_wait(p.full_q.at[stage])
      state = documents_lib.keep(state, p.start_stage.at[stage])
      counts = documents_lib.entering(p.end_stage.at[stage])
    state = _update(p, state, stage, counts)
    pl.when(i + 1 < p.chunks)(
        functools.partial(_publish, p, i + 1, state, corner)
    )
    return state

  state = _initial_state(p)
  if p.P:
    state = lax.fori_loop(I32(0), p.prefix_chunks, read_prefix, state)
  # Traced: as an index of a buffer, a Python int does not lower here.
  _publish(p, p.row * 0, state, corner)
  if p.return_state:
    state = lax.fori_loop(I32(0), I32(p.chunks), read_tokens, state)
    _write_state(p, *state)
  else:  # which no chunk needs after the last one
    lax.fori_loop(I32(0), I32(p.chunks - 1), read_tokens, state)
    _skip(p, p.prefix_chunks + I32(p.chunks - 1), with_q=p.has_documents)
  for i in range(max(p.chunks - 2, 0), p.chunks):
    plgpu.barrier_wait(p.free.at[i % 2])


def _initial_state(p):
  """kv_t [64, 160] and gram [64, 32] in registers."""
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
  """The state after a chunk, of which these tokens count."""
  plgpu.barrier_wait(p.full.at[stage])
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


def _publish(p, i, state, corner):
  """Hands chunk i the state before it, once chunk i - 2 has read its own."""
  buffer = lax.rem(i, I32(2))

  @pl.when(i >= 2)
  def _():
    plgpu.barrier_wait(p.free.at[buffer])

  published = p.published_kv_t, p.published_gram_hi, p.published_gram_lo
  blocks.publish(*state, corner, *(x.at[buffer] for x in published))
  plgpu.barrier_arrive(p.ready.at[buffer])


# The outputs of 64 rows of every chunk.


def _rows(p, half):
  """Outputs of rows 64 half to 64 half + 63 of every chunk."""
  plgpu.set_max_registers(p.config.registers[2], action='increase')
  plgpu.barrier_wait(p.constants)

  def step(i, _):
    stage, buffer = p.stage(i + p.prefix_chunks), lax.rem(i, I32(2))
    plgpu.barrier_wait(p.full.at[stage])
    plgpu.barrier_wait(p.full_q.at[stage])
    num, den = _read_chunk(p, stage, half)
    num, den = _read_state(p, stage, buffer, half, num, den)
    _write(p, i, half, num, _inverse(p, den))

  if p.P:
    lax.fori_loop(I32(0), p.prefix_chunks, lambda i, _: _skip(p, i), None)
  lax.fori_loop(I32(0), I32(p.chunks), step, None)
  plgpu.wait_smem_to_gmem(0)


def _read_chunk(p, stage, half):
  """What the chunk itself adds: P v [64, 64], and the row sums of P [64]."""
  shape = ROWS, ROWS
  q = p.q_stage.at[stage, pl.ds(ROWS * half, ROWS)]
  sums, products = None, []
  for j in range(half + 1):
    rows = pl.ds(ROWS * j, ROWS)
    dot = mma(
        p.emulate, None, shape, (q, Transposed(p.k_stage.at[stage, rows]))
    )
    weights = dot * (dot * F32(1 / 32) + F32(1 / 4)) + F32(1)
    if j == half:
      causal = blocks.iota(shape, 0) >= blocks.iota(shape, 1)
      weights = jnp.where(causal, weights, F32(0))
    if p.has_documents:
      start, end = p.start_stage.at[stage], p.end_stage.at[stage]
      see = documents_lib.sees(start, end, half, j)
      weights = jnp.where(see, weights, F32(0))
    row_sums = jnp.sum(weights, axis=1)
    sums = row_sums if sums is None else sums + row_sums
    products.append((weights.astype(BF16), p.v_stage.at[stage, rows]))
  return mma(p.emulate, None, (ROWS, VALUE_TILE), *products), sums


def _read_state(p, stage, buffer, half, num, den):
  """Adds what the state holds; then both chunk and state can be replaced."""
  q = p.q_stage.at[stage, pl.ds(ROWS * half, ROWS)]
  rolls = blocks.rolled(q, p.selection_q, p.emulate).astype(BF16)
  x, ones, reads = blocks.load(q) * BF16(1 / 4), blocks.ones(), None
  if p.has_documents:
    reads = documents_lib.reading(p.start_stage.at[stage], half)
    x, ones = blocks.mask_tokens(x, reads)
  phi = jnp.concatenate(
      blocks.feature_blocks(x, rolls, ones, square=1 / 2), axis=1
  )
  plgpu.barrier_wait(p.ready.at[buffer])
  gram_hi, gram_lo = (
      y.at[buffer] for y in (p.published_gram_hi, p.published_gram_lo)
  )
  t = blocks.gram_product(x * BF16(1 / 2), gram_hi, gram_lo, p.emulate)
  kv = Transposed(p.published_kv_t.at[buffer])
  num = mma(p.emulate, num, (ROWS, VALUE_TILE), (phi, kv))
  blocks.release(p.free.at[buffer], p.emulate)
  plgpu.commit_smem()  # TMA must not overtake the threads that have read q
  plgpu.barrier_arrive(p.empty.at[stage])
  constant = blocks.constant_column()
  terms = blocks.block(t, 0) * x.astype(F32) + blocks.block(t, 1) * constant
  return num, den + jnp.sum(blocks.keep_rows(terms, reads), axis=1)


def _inverse(p, den):
  """What outputs are multiplied by; no weight is negative, and so z is not."""
  if p.normalizer == 'none':
    return den * F32(0) + F32(1)
  if p.normalizer == 'clamp':
    den = jnp.maximum(den, F32(1))
  elif p.has_documents:  # where nothing was seen, outputs are 0
    den = jnp.maximum(den, F32(1e-12))
  return F32(1) / den


def _write(p, i, half, num, inv_z):
  """Copies outputs to global memory, by way of shared memory."""
  y = num * blocks.broadcast_rows(inv_z, (ROWS, VALUE_TILE))
  plgpu.wait_smem_to_gmem(0, wait_read_only=True)
  p.y_stage[half] = y.astype(BF16)
  p.inv_z_stage[half] = inv_z
  plgpu.commit_smem()
  tokens = pl.ds(i * CHUNK + ROWS * half, ROWS)
  plgpu.copy_smem_to_gmem(
      p.y_stage.at[half], p.y.at[p.row, tokens, p.head, p.columns]
  )

  @pl.when(p.tile == 0)
  def _():
    plgpu.copy_smem_to_gmem(
        p.inv_z_stage.at[half], p.inv_z.at[p.row, p.head, tokens]
    )
