"""The outputs of the forward pass on Hopper, for 64 rows of every chunk.

`mosaic_sm90_forward` describes the roles of the warpgroups.
"""

from typing import Any

from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as documents_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_forward_state as state
from pallas_kernels.prefix_linear_attention import mosaic_sm90_launch as launch
from pallas_kernels.prefix_linear_attention import mosaic_sm90_prefix as prefix
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import BF16
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import F32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import I32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import ROWS
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import Transposed
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import VALUE_TILE


def write_outputs(p: Any, half: int) -> None:
  """Computes outputs for rows 64 half to 64 half + 63 of every chunk."""
  plgpu.barrier_wait(p.constants)

  def step(i, _):
    stage = launch.ring(i + p.prefix_chunks, p.stages)
    buffer = launch.ring(i, 2)
    plgpu.barrier_wait(p.full.at[stage])
    plgpu.barrier_wait(p.full_q.at[stage])
    num, den = _read_chunk(p, stage, half)
    num, den = _read_state(p, stage, buffer, half, num, den)
    _write(p, i, half, num, _inverse(p, den))

  if p.has_prefix:
    prefix.write_features(p, half)
  lax.fori_loop(I32(0), I32(p.chunks), step, None)
  plgpu.wait_smem_to_gmem(0)


def _read_chunk(p, stage, half):
  """The contribution of the chunk: P v [64, 64], and the row sums of P [64]."""
  shape = ROWS, ROWS
  q = p.q_stage.at[stage, pl.ds(ROWS * half, ROWS)]
  sums, products = None, []
  for j in range(half + 1):
    rows = pl.ds(ROWS * j, ROWS)
    dot = p.mma(None, shape, (q, Transposed(p.k_stage.at[stage, rows])))
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
  return p.mma(None, (ROWS, VALUE_TILE), *products), sums


def _read_state(p, stage, buffer, half, num, den):
  """Adds the contribution of the state; releases the chunk and the state."""
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
  kv_t, *gram = state.published(p, buffer)
  t = blocks.gram_product(x * BF16(1 / 2), *gram, p.emulate)
  num = p.mma(num, (ROWS, VALUE_TILE), (phi, Transposed(kv_t)))
  blocks.release(p.free.at[buffer], p.emulate)
  plgpu.commit_smem()  # TMA must not overtake the threads that have read q
  plgpu.barrier_arrive(p.empty.at[stage])
  constant = blocks.constant_column()
  terms = blocks.block(t, 0) * x.astype(F32) + blocks.block(t, 1) * constant
  return num, den + jnp.sum(blocks.keep_rows(terms, reads), axis=1)


def _inverse(p, den):
  """The inverse divisor of outputs; weights and so z are not negative."""
  if p.normalizer == 'none':
    return den * F32(0) + F32(1)
  if p.normalizer == 'clamp':
    den = jnp.maximum(den, F32(1))
  elif p.has_documents:  # without any key, outputs are 0
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
