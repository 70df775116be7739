"""Copies chunks to shared memory for the forward pass on Hopper.

`mosaic_sm90_forward` describes the roles of the warpgroups. Chunks are counted
from the first chunk of the prefix.
"""

from typing import Any

from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.prefix_linear_attention import mosaic_sm90_launch as launch
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import I32


def copy_chunks(p: Any) -> None:
  """Copies all chunks, as soon as their stage is empty."""
  total = p.prefix_chunks + I32(p.chunks)

  def step(chunk, _):
    stage = launch.ring(chunk, p.stages)

    @pl.when(chunk >= p.stages)
    def _():
      plgpu.barrier_wait(p.empty.at[stage])

    if p.has_prefix:
      is_prefix = chunk < p.prefix_chunks
      pl.when(is_prefix)(lambda: _copy_prefix(p, chunk, stage))
    i = chunk - p.prefix_chunks
    pl.when(i >= 0)(lambda: _copy_tokens(p, i, stage))

  lax.fori_loop(I32(0), total, step, None)
  launch.drain(p.empty, total, p.stages)


def _copy_prefix(p, chunk, stage):
  """Copies k_enc and v_enc of a chunk."""
  tokens, full = pl.ds(chunk * CHUNK, CHUNK), p.full.at[stage]
  k = p.k_enc.at[p.row, tokens, p.head]
  v = p.v_enc.at[p.row, tokens, p.head, p.columns]
  plgpu.copy_gmem_to_smem(k, p.k_stage.at[stage], full)
  plgpu.copy_gmem_to_smem(v, p.v_stage.at[stage], full)
  if p.has_documents:
    end = p.end_enc.at[p.row, tokens]
    plgpu.copy_gmem_to_smem(end, p.end_stage.at[stage], full)


def _copy_tokens(p, chunk, stage):
  """Copies q, k and v of a chunk, counted from the first token."""
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
