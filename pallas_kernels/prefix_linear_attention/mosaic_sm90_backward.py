"""Gradients of prefix linear attention on Hopper, in three Pallas kernels.

The formulas are those of `roll_algebra.backward`. Each kernel is in a file
`mosaic_sm90_backward_<name>.py`, and shared code is in `…_parts.py`:

    dq       forward in time: recomputes the states that the forward pass had.
             dq, and d = dy·y of every position for the next launch
    dkv      backward in time: dk, dv, and the cotangent of the state after the
             prefix, which is also that of the initial state
    dprefix  dk_enc and dv_enc from that cotangent, all chunks in parallel

A program of the first two kernels scans the chunks of 128 positions of one
head, for 64 of its values, with four warpgroups:

    0     state   features of the chunk; adds them to the state, which it keeps
                  in registers, and publishes what the next chunk reads
    1, 2  rows    gradients of the first and of the second 64 positions
    3     TMA     loads chunks into a ring of `stages` buffers

and these barriers. A warpgroup that waits for a barrier must wait for each of
its phases: the row warpgroups of dq therefore also wait for chunks of the
prefix. At the end, some warpgroup waits for the last phases of each barrier.

    full, full_q    TMA has filled a stage: with k and v; with all other arrays
    empty           all readers are done with the stage
    ready           a published state may be read, in one of two slots
    free            both row warpgroups are done with a slot
    constants       the selection matrix is ready
    finish          all warpgroups meet before any of them exits: programs have
                    crashed if one exits while others use the tensor cores

With packed documents or padding, `full` also signals the ends of
`mosaic_sm90_documents`, and `full_q` the starts, for which the state waits.

A program of dprefix has two row warpgroups that load their own data.

With more than 64 values, programs compute partial sums of dq and dk that are
added afterwards: every term is a sum over values, including d.
"""

import dataclasses
import functools
from typing import Any

import jax
from jax.experimental import pallas as pl
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward_dkv as dkv_launch
from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward_dprefix as dprefix_launch
from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward_dq as dq_launch
from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as documents_lib
from pallas_kernels.prefix_linear_attention import mosaic_sm90_launch as launch
from pallas_kernels.prefix_linear_attention import mosaic_sm90_limits as limits
from pallas_kernels.prefix_linear_attention import roll_algebra
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import BF16
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import VALUE_TILE


@dataclasses.dataclass(frozen=True)
class BackwardConfig:
  """Tunable settings; ValueError for values that no Hopper GPU supports.

  Attributes:
    stages: the chunks in shared memory at a time, for dq and dkv.
    dq_registers: the registers of each thread of the producer, the state
      warpgroup and the row warpgroups.
    dkv_registers: the same for dkv.
    prefix_chunks: the most chunks of the prefix for one program.
  """

  stages: int = 2
  dq_registers: tuple[int, int, int] = (24, 168, 160)
  dkv_registers: tuple[int, int, int] = (24, 200, 144)
  prefix_chunks: int = 4

  def __post_init__(self):
    for name in ('stages', 'prefix_chunks'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be at least 1, got {self!r}')
    limits.check_registers(*self.dq_registers)
    limits.check_registers(*self.dkv_registers)
    for scratch in (dq_launch.make_scratch, dkv_launch.make_scratch):
      limits.check_shared_memory(
          scratch(self.stages, V=2 * VALUE_TILE, documents=True)
      )


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
    documents: documents_lib.Documents | None = None,
    *,
    config: BackwardConfig,
    interpret: Any = None,
) -> tuple[jax.Array | None, ...]:
  """Computes all cotangents.

  Args:
    q, k: bfloat16 [B, L, H, 16]; L and P are multiples of 128.
    v: bfloat16 [B, L, H, V], V a multiple of 16.
    k_enc, v_enc: bfloat16 [B, P, H, 16] and [B, P, H, V], or None.
    prefix_len: int32 [B], or None without a prefix.
    kv_t, gram: float32 [B, H, V, 160] and [B, H, 64, 32], the initial state, or
      None for zeros.
    y: bfloat16 [B, L, H, V], the outputs; 0 where z is a constant.
    inv_z: float32 [B, H, L], 1 / z of every position, finite.
    dy: bfloat16 [B, L, H, V]. It must be 0 in rows without a token, so that
      they have no effect; the gradients of these rows have no meaning.
    dkv_t, dgram: cotangents of the final state, or None for zeros; `dgram` is
      symmetric in its first 16 rows and columns, as in `unpack_state`.
    documents: packed documents and padding; None if there are none.
    config: the tunable settings.
    interpret: `InterpretGPUParams` to run without a GPU.

  Returns:
    dq, dk, dv, dk_enc, dv_enc (bfloat16; None without a prefix), and the
    cotangents of the initial `kv_t` and `gram`, float32; None without them.

  Raises:
    ValueError: a length or a width is not a multiple as described above.
  """
  _, L, _, V = v.shape
  P = 0 if k_enc is None else k_enc.shape[1]
  limits.check_sizes(L=L, P=P, D=q.shape[-1], V=V)
  run = functools.partial(
      launch.launch, tiles=pl.cdiv(V, VALUE_TILE), interpret=interpret
  )
  causal = {'q': q, 'k': k, 'v': v, 'dy': dy, 'inv_z': inv_z}
  prefix, ends = {}, {}
  if documents is not None:
    causal |= {'start': documents.start, 'end': documents.end}
    ends = {'end_enc': documents.end_enc} if P else {}
  if P:
    prefix = {'k_enc': k_enc, 'v_enc': v_enc, 'prefix_len': prefix_len}
  has_state = kv_t is not None
  first = {'kv_t': _whole_tiles(kv_t), 'gram': gram} if has_state else {}
  arrays = causal | {'y': y} | first | prefix | ends
  dq, d = dq_launch.gradients(run, arrays, config)
  last = {}
  if dkv_t is not None:
    last['dkv_t_end'], last['moments_end'] = _cotangents(dkv_t, dgram)
  dk, dv, *before = dkv_launch.gradients(
      run,
      causal | {'d': d} | last,
      config,
      return_state=bool(P) or has_state,
  )
  dk_enc = dv_enc = None
  if P:
    state = dict(zip(('dkv_t', 'moments'), before))
    dk_enc, dv_enc = dprefix_launch.gradients(run, prefix | state, config)
    dk_enc, dv_enc = _only(ends.get('end_enc'), _sum_tiles(dk_enc), dv_enc)
  dkv_t = dgram = None
  if has_state:
    dkv_t, moments = before
    dkv_t = dkv_t[:, :, :V]
    dgram = roll_algebra.dgram_from_moments(moments.sum(0))
  return _sum_tiles(dq), _sum_tiles(dk), dv, dk_enc, dv_enc, dkv_t, dgram


def state_backward(
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    dkv_t: jax.Array,
    dgram: jax.Array,
    end: jax.Array | None = None,
    *,
    config: BackwardConfig,
    interpret: Any = None,
) -> tuple[jax.Array, jax.Array]:
  """Computes dk and dv of `mosaic_sm90_state.final_state`; see `backward`.

  Without outputs, only the state after a prefix is differentiated.
  """
  V = v.shape[-1]
  dkv_t, moments = _cotangents(dkv_t, dgram)
  run = functools.partial(
      launch.launch, tiles=pl.cdiv(V, VALUE_TILE), interpret=interpret
  )
  prefix = {'k_enc': k, 'v_enc': v, 'prefix_len': lengths}
  state = {'dkv_t': dkv_t, 'moments': moments}
  dk, dv = dprefix_launch.gradients(run, prefix | state, config)
  return _only(end, _sum_tiles(dk), dv)


def _cotangents(dkv_t, dgram):
  """The first cotangents of the scan back in time; moments are in one tile."""
  dkv_t = _whole_tiles(dkv_t)
  moments = roll_algebra.moments_from_dgram(dgram)[None]
  others = dkv_t.shape[2] // VALUE_TILE - 1
  return dkv_t, jnp.pad(moments, [(0, others)] + [(0, 0)] * 4)


def _whole_tiles(kv_t):
  """Pads [B, H, V, 160] to whole tiles of values."""
  spare = -kv_t.shape[2] % VALUE_TILE
  return jnp.pad(kv_t, [(0, 0), (0, 0), (0, spare), (0, 0)])


def _only(end, *gradients):
  """Zeroes gradients of positions that `end` marks as padding."""
  if end is None:
    return gradients
  counts = (end > 0)[..., None, None]
  return tuple(jnp.where(counts, x, 0) for x in gradients)


def _sum_tiles(x):
  """Adds up [tiles, B, L, H, 16]."""
  return x.sum(0).astype(BF16)
