"""The gated delta rule in chunks: matrix products, linear in the length.

Within a chunk the writes u of all tokens follow from one triangular system: a
token writes what its value differs from what the state, and the writes of the
tokens before it, hold under its key. With Γ the sum of the log decays from the
start of the chunk or document, S the state before it and ratio_ij = exp(Γ_i - Γ_j),

  (I + A) u = β (v - exp(Γ) k S),   A_ij = β_i (k_i·k_j) ratio_ij for j < i,
  y_i = exp(Γ_i) q_i S + Σ_{j≤i} (q_i·k_j) ratio_ij u_j,
  S' = exp(Γ_C) S + Σ_j exp(Γ_C - Γ_j) k_j u_jᵀ.

Ratios are at most 1, so that no decay can overflow. Without β, u is v.

Source: Yang et al. 2024 (Gated DeltaNet), https://arxiv.org/abs/2412.06464,
section 3.3; without β: Dao and Gu 2024 (Mamba-2), https://arxiv.org/abs/2405.21060,
section 6.
"""

import functools
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from pallas_kernels.gated_delta_rule.inputs import Inputs

CHUNK = 64  # C, a power of 2; the inverse takes C² of memory and C³ of time

# Operands keep their dtype; sums are float32. On accelerators, the default
# precision of float32 operands would be lower.
einsum = functools.partial(
    jnp.einsum,
    preferred_element_type=jnp.float32,
    precision=lax.Precision.HIGHEST,
)


def chunked(
    inputs: Inputs, *, chunk: int = CHUNK
) -> tuple[jax.Array | None, jax.Array]:
  """Returns the outputs [B, L, H, V], if there are queries, and the last state.

  The backward pass keeps the state before each chunk and computes the rest of a
  chunk once more, so that memory is linear in L.
  """
  L = inputs.v.shape[1]
  chunks = _Chunk.of(inputs, min(chunk, max(16, 1 << (L - 1).bit_length())))
  read = jax.checkpoint(_read)
  state, y = lax.scan(read, inputs.state, chunks)  # y [N, B, H, C, V]
  if y is None:
    return None, state
  y = jnp.moveaxis(y, (0, 3), (1, 2))  # [B, N, C, H, V]
  y = y.reshape(y.shape[0], -1, *y.shape[3:])[:, :L]
  return y.astype(inputs.v.dtype), state


class _Chunk(NamedTuple):
  """C tokens of every row; N of them in a row, along a leading axis."""

  q: jax.Array | None  # [B, G, C, D]
  k: jax.Array  # [B, G, C, D]
  v: jax.Array  # [B, H, C, V]
  log_decay: jax.Array  # [B, H, C]
  beta: jax.Array | None  # [B, H, C]
  segment: jax.Array  # [B, C]
  opened: jax.Array  # [B], the segment of the state before the chunk

  @classmethod
  def of(cls, inputs, C):
    """All chunks, the last one filled up with what changes nothing."""
    split = functools.partial(_split, C=C)
    segment = _split(inputs.segment, C, mode='edge')
    opened = jnp.pad(segment[:-1, :, -1], ((1, 0), (0, 0)))
    q, k, v, log_decay, beta = (
        None if x is None else jnp.moveaxis(split(x), 3, 2) for x in inputs[:5]
    )
    return cls(q, k, v, log_decay, beta, segment, opened)


def _split(x, C, mode='constant'):
  """[B, L, ...] to [N, B, C, ...]."""
  fill = [(0, 0), (0, -x.shape[1] % C)] + [(0, 0)] * (x.ndim - 2)
  x = jnp.pad(x, fill, mode=mode)
  return jnp.moveaxis(x.reshape(x.shape[0], -1, C, *x.shape[2:]), 1, 0)


def _read(state, chunk):
  """The state [B, H, D, V] after a chunk, and outputs [B, H, C, V] or None."""
  segment = chunk.segment
  reads = segment == chunk.opened[:, None]  # [B, C], tokens that see the state
  writes = segment == segment[:, -1:]  # likewise those that are kept in it
  sees = jnp.tril(segment[:, :, None] == segment[:, None, :])[:, None]
  total = _since_start(sees, chunk.log_decay)  # Γ [B, H, C]
  ratio = total[..., :, None] - total[..., None, :]
  ratio = jnp.exp(jnp.where(sees, ratio, -jnp.inf))  # [B, H, C, C]
  since = jnp.where(reads[:, None], jnp.exp(total), 0)[..., None]
  left = total[..., -1:] - total
  left = jnp.exp(jnp.where(writes[:, None], left, -jnp.inf))[..., None]

  written = _written(chunk, state, ratio, since)
  y = None
  if chunk.q is not None:
    scores = _by_head(_scores(chunk.q, chunk.k), ratio)
    y = since * _from_state(chunk.q, state)
    dtype = chunk.v.dtype
    y += einsum('bhij,bhjv->bhiv', scores.astype(dtype), written.astype(dtype))
  kept = jnp.where(reads[:, -1:], jnp.exp(total[..., -1]), 0)
  state = state * kept[..., None, None] + _to_state(chunk.k, left * written)
  return state, y


def _since_start(sees, log_decay):
  """Γ, summed over the tokens of each document apart: none depends on another."""
  return einsum('bhij,bhj->bhi', sees.astype(jnp.float32), log_decay)


def _written(chunk, state, ratio, since):
  """u [B, H, C, V], what each token adds to the state under its key."""
  v = chunk.v.astype(jnp.float32)
  if chunk.beta is None:
    return v
  beta = chunk.beta[..., None]
  new = beta * (v - since * _from_state(chunk.k, state))
  system = beta * _by_head(_scores(chunk.k, chunk.k), ratio)
  return einsum('bhij,bhjv->bhiv', _inverse(system), new)


def _inverse(system):
  """(I + A)⁻¹ of [B, H, C, C], of which A is what is below the diagonal.

  Pairs of inverted blocks on the diagonal are joined to one of twice the size,
  until there is one. These are products of many matrices at once, where a
  triangular solver takes row after row. Unlike a power series, they lose no more
  to rounding than substitution does.
  """
  C = system.shape[-1]
  inverse = jnp.ones((*system.shape[:2], C, 1, 1), system.dtype)
  for size in (2**i for i in range(C.bit_length() - 1)):
    blocks = system.reshape(*system.shape[:2], *(C // (2 * size), 2 * size) * 2)
    below = jnp.einsum('bhninj->bhnij', blocks)[..., size:, :size]
    first, second = inverse[:, :, 0::2], inverse[:, :, 1::2]
    corner = -einsum('bhnij,bhnjk,bhnkl->bhnil', second, below, first)
    rows = (first, jnp.zeros_like(corner)), (corner, second)
    inverse = jnp.concatenate([jnp.concatenate(x, -1) for x in rows], -2)
  return inverse[:, :, 0]


def _scores(q, k):
  """[B, G, C, C], the products of all queries and keys of a chunk."""
  return einsum('bgid,bgjd->bgij', q, k)


def _by_head(scores, ratio):
  """[B, H, C, C], the scores of each head's group, decayed."""
  (B, G, C, _), H = scores.shape, ratio.shape[1]
  ratio = ratio.reshape(B, G, H // G, C, C)
  return (scores[:, :, None] * ratio).reshape(B, H, C, C)


def _from_state(q, state):
  """[B, H, C, V], what the state holds under keys [B, G, C, D]."""
  (B, G, C, _), (H, D, V) = q.shape, state.shape[1:]
  grouped = state.reshape(B, G, H // G, D, V)
  y = einsum('bgcd,bgrdv->bgrcv', q, grouped.astype(q.dtype))
  return y.reshape(B, H, C, V)


def _to_state(k, written):
  """[B, H, D, V], the sum of k uᵀ."""
  (B, G, C, D), (H, V) = k.shape, written.shape[1::2]
  grouped = written.reshape(B, G, H // G, C, V)
  kv = einsum('bgcd,bgrcv->bgrdv', k, grouped.astype(k.dtype))
  return kv.reshape(B, H, D, V)
