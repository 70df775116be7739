"""Prefix linear attention in chunks: linear time and memory, on any device.

Inside a chunk the weight of every pair is computed; earlier tokens are read
from the state. The backward pass recomputes states and features instead of
keeping them.
"""

import functools
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import chunks
from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap
from pallas_kernels.prefix_linear_attention.inputs import State

CHUNK = 128

# Operands keep their dtype; sums are float32. On accelerators, the default
# precision of float32 operands would be lower.
_einsum = functools.partial(
    jnp.einsum,
    preferred_element_type=jnp.float32,
    precision=lax.Precision.HIGHEST,
)


def chunked(
    inputs: inputs_lib.Inputs,
    *,
    feature_map: FeatureMap,
    normalizer: str,
    plain: bool = False,
    return_state: bool = True,
    chunk: int = CHUNK,
) -> tuple[jax.Array, State | None]:
  """Returns the outputs [B, L, H, V] and the state after the last token.

  If rows are `plain` (tokens of a single document), no mask is read.
  """
  L = inputs.q.shape[1]
  chunk = min(chunk, L)
  plain = plain and L % chunk == 0  # otherwise the last chunk is padded
  inputs = inputs_lib.with_state(inputs, feature_map)
  y, state = _chunked(inputs, feature_map, normalizer, plain, chunk)
  return y, state if return_state else None


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _chunked(inputs, feature_map, normalizer, plain, chunk):
  return _forward(inputs, feature_map, normalizer, plain, chunk)[0]


def _forward(inputs, feature_map, normalizer, plain, chunk):
  op = _Op(feature_map)
  causal = chunks.Causal.of(inputs, plain, chunk)
  B, L, H, _ = causal.q.shape

  def step(i, carry):
    state, y, den = carry
    c = causal.chunk(i)
    num, d = op.outputs(state, c)
    y = chunks.put(y, inputs_lib.normalize(num, d, normalizer), i, chunk)
    return op.update(state, c), y, chunks.put(den, d, i, chunk)

  state, y, den = lax.fori_loop(
      0,
      L // chunk,
      step,
      (
          op.read_prefix(inputs.state, chunks.Prefix.of(inputs, chunk)),
          jnp.zeros_like(causal.v),
          jnp.zeros((B, L, H), jnp.float32),
      ),
  )
  return (y[:, : inputs.q.shape[1]], state), (inputs, y, den)


def _backward(feature_map, normalizer, plain, chunk, residuals, cotangents):
  inputs, y, den = residuals
  dy, dstate = cotangents
  dy = chunks.filled(dy, chunk)
  op = _Op(feature_map)
  causal = chunks.Causal.of(inputs, plain, chunk)
  prefix = chunks.Prefix.of(inputs, chunk)
  N = causal.q.shape[1] // chunk

  def keep(state, i):
    return op.update(state, causal.chunk(i)), state

  _, states = lax.scan(
      keep, op.read_prefix(inputs.state, prefix), jnp.arange(N)
  )

  def step(i, carry):
    i = N - 1 - i
    dstate, *grads = carry
    c, state = causal.chunk(i), jax.tree.map(lambda x: x[i], states)
    here = (chunks.take(x, i, chunk) for x in (dy, y, den))
    dnum, dden = _normalize_vjp(*here, normalizer)
    parts = op.chunk_vjp(c, state, dnum, dden, dstate)
    grads = [chunks.put(x, part, i, chunk) for x, part in zip(grads, parts)]
    return op.update_vjp(c, dnum, dden, dstate), *grads

  zeros = [jnp.zeros_like(x) for x in (causal.q, causal.k, causal.v)]
  dstate, *grads = lax.fori_loop(0, N, step, (dstate, *zeros))
  L, P = inputs.q.shape[1], inputs.k_enc.shape[1]
  dq, dk, dv = (x[:, :L] for x in grads)
  dk_enc, dv_enc = (x[:, :P] for x in op.read_prefix_vjp(dstate, prefix))
  zero = None  # the cotangent of masks and segments
  return (
      inputs_lib.Inputs(dq, dk, dv, dk_enc, dv_enc, zero, zero, zero, dstate),
  )


_chunked.defvjp(_forward, _backward)


def _normalize_vjp(dy, y, den, normalizer):
  """Cotangents of numerators and denominators, float32."""
  divisor, divisor_vjp = jax.vjp(inputs_lib.NORMALIZERS[normalizer], den)
  dnum = dy / divisor[..., None]  # float32, as the divisor is
  dden = divisor_vjp(-_einsum('bhcv,bhcv->bhc', dnum, y))[0]
  return dnum.astype(y.dtype), dden


class _Op(NamedTuple):
  """The arithmetic of one chunk: S += φ(k) vᵀ, y = φ(q)·S + Σ kernel(q, k) v.

  Cotangents of `f` are computed by `f_vjp`.
  """

  feature_map: FeatureMap

  def features(self, x, mask):
    phi = self.feature_map.features(x)
    return phi if mask is None else phi * mask.astype(x.dtype)

  def weights(self, c):
    """[B, H, C, C] float32, before masking, and its vjp."""
    dot = _einsum('bhcd,bhjd->bhcj', c.q, c.k)
    D = c.q.shape[-1]
    return jax.vjp(lambda dot: self.feature_map.kernel(dot, D), dot)

  def outputs(self, state, c):
    w = jnp.where(c.sees, self.weights(c)[0], 0)
    phi = self.features(c.q, c.reads)
    num = _einsum('bhcj,bhjv->bhcv', w.astype(c.v.dtype), c.v)
    num += _einsum('bhcf,bhfv->bhcv', phi, state.kv.astype(phi.dtype))
    den = w.sum(-1)
    den += _einsum('bhcf,bhf->bhc', phi.astype(jnp.float32), state.k)
    return num, den

  def update(self, state, c):
    return self.written(c.kept(state), c.k, c.v, c.writes)

  def written(self, state, k, v, writes):
    phi = self.features(k, writes)
    return State(
        state.kv + _einsum('bhcf,bhcv->bhfv', phi, v),
        state.k + _einsum('bhcf->bhf', phi),
    )

  def update_vjp(self, c, dnum, dden, dstate):
    """The cotangent of the state before the chunk."""
    phi, kept = self.features(c.q, c.reads), c.kept(dstate)
    return State(
        kept.kv + _einsum('bhcf,bhcv->bhfv', phi, dnum),
        kept.k + _einsum('bhcf,bhc->bhf', phi.astype(jnp.float32), dden),
    )

  def chunk_vjp(self, c, state, dnum, dden, dstate):
    """Cotangents of q, k and v."""
    w, weights_vjp = self.weights(c)
    w = jnp.where(c.sees, w, 0)
    dw = _einsum('bhcv,bhjv->bhcj', dnum, c.v) + dden[..., None]
    ddot = weights_vjp(jnp.where(c.sees, dw, 0))[0].astype(c.q.dtype)

    phi_q, q_vjp = jax.vjp(lambda q: self.features(q, c.reads), c.q)
    dphi_q = _einsum('bhcv,bhfv->bhcf', dnum, state.kv.astype(dnum.dtype))
    dphi_q += dden[..., None] * state.k[:, :, None]
    dq = _einsum('bhcj,bhjd->bhcd', ddot, c.k)
    dq += q_vjp(dphi_q.astype(phi_q.dtype))[0]

    dk, dv = self.written_vjp(c.k, c.v, c.writes, dstate)
    dk += _einsum('bhcj,bhcd->bhjd', ddot, c.q)
    dv += _einsum('bhcj,bhcv->bhjv', w.astype(c.v.dtype), dnum)
    return dq.astype(c.q.dtype), dk.astype(c.k.dtype), dv.astype(c.v.dtype)

  def written_vjp(self, k, v, writes, dstate):
    """Float32 cotangents of keys and values that were added to the state."""
    phi, k_vjp = jax.vjp(lambda k: self.features(k, writes), k)
    dkv = dstate.kv.astype(v.dtype)
    dphi = _einsum('bhcv,bhfv->bhcf', v, dkv) + dstate.k[:, :, None]
    dk = k_vjp(dphi.astype(phi.dtype))[0].astype(jnp.float32)
    return dk, _einsum('bhcf,bhfv->bhcv', phi, dkv)

  def read_prefix(self, state, prefix):
    if not prefix.k.shape[1]:
      return state

    def body(i, state):
      return self.written(state, *prefix.chunk(i))

    return lax.fori_loop(0, prefix.count, body, state)

  def read_prefix_vjp(self, dstate, prefix):
    """Cotangents of the keys and values of the prefix."""

    def body(i, grads):
      parts = self.written_vjp(*prefix.chunk(i), dstate)
      return tuple(
          chunks.put(x, part, i, prefix.size) for x, part in zip(grads, parts)
      )

    zeros = jnp.zeros_like(prefix.k), jnp.zeros_like(prefix.v)
    if not prefix.k.shape[1]:
      return zeros
    return lax.fori_loop(0, prefix.count, body, zeros)
