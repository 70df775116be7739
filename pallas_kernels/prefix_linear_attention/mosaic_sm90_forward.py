"""Prefix linear attention on Hopper, forward: one launch of Pallas Mosaic GPU.

With the features φ of `roll_features.py`, chunks of 128 tokens, and the state
(S, G) of the prefix and all chunks before chunk i:

    P = 1 + s + s²/2 for s = q kᵀ / 4, where the chunk's causal mask allows
    y = (P v + φ_q S) / z,  z = the sum of the rows of P + [x/2, 1] G [x, 1]ᵀ
    S += φ_kᵀ v,  G += φ_kᵀ φ_k, of which z needs only the corner; x = q / 4

A program is one row of the batch, one head and 64 values. Its warpgroups are

    0  state     keeps Sᵀ and G in registers and publishes them for each chunk
    1  rows      outputs of the first 64 tokens of a chunk
    2  rows      of the other 64
    3  producer  copies chunks to shared memory: k_enc, v_enc, then q, k, v

with these barriers (stages and both buffers are used in turn):

    full[stage]     k and v have arrived
    full_q[stage]   q has arrived; there is none for the prefix
    empty[stage]    state and rows have read all three
    constants       the selection matrices are in shared memory
    ready[buffer]   a state is published; chunk i reads buffer i % 2
    free[buffer]    both row warpgroups have read it
    finish          all are done: none exits while others use tensor cores

In the prefix there are no outputs, and the row warpgroups compute features for
the state, see `mosaic_sm90_prefix`. For tokens, the state warpgroup computes
features itself: then two of the four slabs have the features of a chunk, and
the other two have published states.

With packed documents or padding, `full` also signals the ends and `full_q` the
starts of `mosaic_sm90_documents`, and the state waits for `full_q`.

Some warpgroup waits for every completed phase of a barrier, including the last.
Only chunks with positions before `prefix_len` are copied. The state is
published at the end of an iteration, because at the start ptxas would copy all
accumulators.
"""

import dataclasses
from typing import Any

import jax
from jax import lax
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as documents_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_forward_producer as producer
from pallas_kernels.prefix_linear_attention import mosaic_sm90_forward_rows as rows
from pallas_kernels.prefix_linear_attention import mosaic_sm90_forward_state as state
from pallas_kernels.prefix_linear_attention import mosaic_sm90_launch as launch
from pallas_kernels.prefix_linear_attention import mosaic_sm90_limits as limits
from pallas_kernels.prefix_linear_attention import mosaic_sm90_prefix as prefix
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import BF16
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import D
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import F32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import GRAM_SHAPE
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import I32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import NUM_FEATURES
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import ROWS
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import VALUE_TILE


@dataclasses.dataclass(frozen=True)
class ForwardConfig:
  """Tunable settings; ValueError if the hardware does not support them."""

  stages: int = 3  # chunks in shared memory
  registers: tuple[int, int, int] = 24, 168, 160  # producer, state, each rows

  def __post_init__(self):
    if self.stages < 2:
      raise ValueError(f'stages must be at least 2, got {self.stages}')
    limits.check_registers(*self.registers)
    scratch = make_scratch(self.stages, V=VALUE_TILE, documents=True)
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
  """Returns the outputs, their divisors, and the final state.

  Args:
    q, k: bfloat16 [B, L, H, 16]; L is a multiple of 128.
    v: bfloat16 [B, L, H, V]; V is a multiple of 16.
    k_enc, v_enc: bfloat16 [B, P, H, 16] and [B, P, H, V], P a multiple of 128;
      or None.
    prefix_len: int32 [B] from 0 to P, how many of the P positions are prefix;
      None if k_enc and v_enc are None.
    kv_t, gram: the state before the first token, float32 [B, H, V, 160] and
      [B, H, 64, 32], as `roll_features.pack_state` returns it; None for zeros.
    documents: packed documents and padding; None if there are none.
    config: the tunable settings.
    normalizer: one of `inputs.NORMALIZERS`.
    length: tokens from this position on do not enter the final state; default
      L. With `documents`, these mark padding instead.
    return_state: whether the final state is written.
    interpret: `plgpu.InterpretGPUParams`, to run without a GPU.

  Returns:
    y bfloat16 [B, L, H, V]; inv_z float32 [B, H, L], the inverse of the divisor
    of each token (for 'sum', the sum of its weights); kv_t and gram after the
    last token, or None.

  Raises:
    ValueError: L, P, D or V is not as described above.
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

  def forward(p):
    p.stages, p.chunks, p.normalizer = config.stages, L // CHUNK, normalizer
    p.length = L if length is None else length
    p.has_prefix, p.has_state = 'k_enc' in inputs, 'kv_t' in inputs
    p.has_documents, p.return_state = documents is not None, return_state
    p.prefix = p.prefix_len[p.row] if p.has_prefix else I32(0)
    p.prefix_chunks = lax.div(p.prefix + I32(CHUNK - 1), I32(CHUNK))
    launch.run_roles(
        p,
        config.registers,
        producer.copy_chunks,
        state.add_chunks,
        rows.write_outputs,
    )

  y, inv_z, *final = launch.launch(
      forward,
      {'row': B, 'head': H},
      inputs,
      outputs,
      make_scratch(config.stages, V=V, documents=documents is not None),
      tiles=tiles,
      threads=4,
      interpret=interpret,
      compiler_params=plgpu.CompilerParams(approx_math=True),
  )
  if not return_state:
    return y, inv_z, None, None
  final_kv_t, final_gram = final
  return y, inv_z, final_kv_t[:, :, :V], final_gram


def make_scratch(
    stages: int, *, V: int, documents: bool = False
) -> dict[str, Any]:
  """Buffers in shared memory and barriers, by name."""
  plain, tiled = launch.buffers(V)
  barrier = plgpu.Barrier
  spans = documents_lib.scratch(stages) if documents else {}
  copies = 1 if documents else 0  # copies of ends, and of starts
  shared = spans | prefix.make_scratch(tiled)
  return shared | {
      'q_stage': plain(stages, CHUNK, D),
      'k_stage': plain(stages, CHUNK, D),
      'v_stage': tiled(stages, CHUNK, VALUE_TILE),
      'published_gram_hi': plain(2, *GRAM_SHAPE),
      'published_gram_lo': plain(2, *GRAM_SHAPE),
      'y_stage': tiled(2, ROWS, VALUE_TILE),
      'inv_z_stage': plgpu.SMEM((2, ROWS), F32),
      'selection': plain(ROWS, D),
      'selection_q': plain(ROWS, D),
      'full': barrier(num_arrivals=2 + copies, num_barriers=stages),
      'full_q': barrier(num_arrivals=1 + copies, num_barriers=stages),
      'empty': barrier(num_arrivals=3, num_barriers=stages),
      'constants': barrier(num_arrivals=1),
      'ready': barrier(num_arrivals=1, num_barriers=2),
      'free': barrier(num_arrivals=2, num_barriers=2),
      'finish': barrier(num_arrivals=4),
  }
