"""The products of one chunk of linear attention, and their derivatives."""

import functools
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import chunks
from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap
from pallas_kernels.prefix_linear_attention.inputs import State

# Operands keep their dtype; sums are float32. On accelerators, the default
# precision of float32 operands would be lower.
einsum = functools.partial(
    jnp.einsum,
    preferred_element_type=jnp.float32,
    precision=lax.Precision.HIGHEST,
)


class Products(NamedTuple):
  """The arithmetic of one chunk: S += φ(k) vᵀ, y = φ(q)·S + Σ kernel(q, k) v.

  Cotangents of `f` are computed by `f_vjp`.
  """

  feature_map: FeatureMap

  def features(self, x, mask):
    phi = self.feature_map.features(x)
    return phi if mask is None else phi * mask.astype(x.dtype)

  def weights(self, c):
    """[B, H, C, C] float32, before masking, and its vjp."""
    dot = einsum('bhcd,bhjd->bhcj', c.q, c.k)
    D = c.q.shape[-1]
    return jax.vjp(lambda dot: self.feature_map.kernel(dot, D), dot)

  def outputs(self, state, c):
    w = jnp.where(c.sees, self.weights(c)[0], 0)
    phi = self.features(c.q, c.reads)
    num = einsum('bhcj,bhjv->bhcv', w.astype(c.v.dtype), c.v)
    num += einsum('bhcf,bhfv->bhcv', phi, state.kv.astype(phi.dtype))
    den = w.sum(-1)
    den += einsum('bhcf,bhf->bhc', phi.astype(jnp.float32), state.k)
    return num, den

  def update(self, state, c):
    return self.written(c.kept(state), c.k, c.v, c.writes)

  def written(self, state, k, v, writes):
    phi = self.features(k, writes)
    return State(
        state.kv + einsum('bhcf,bhcv->bhfv', phi, v),
        state.k + einsum('bhcf->bhf', phi),
    )

  def update_vjp(self, c, dnum, dden, dstate):
    """The cotangent of the state before the chunk."""
    phi, kept = self.features(c.q, c.reads), c.kept(dstate)
    return State(
        kept.kv + einsum('bhcf,bhcv->bhfv', phi, dnum),
        kept.k + einsum('bhcf,bhc->bhf', phi.astype(jnp.float32), dden),
    )

  def chunk_vjp(self, c, state, dnum, dden, dstate):
    """Cotangents of q, k and v."""
    w, weights_vjp = self.weights(c)
    w = jnp.where(c.sees, w, 0)
    dw = einsum('bhcv,bhjv->bhcj', dnum, c.v) + dden[..., None]
    ddot = weights_vjp(jnp.where(c.sees, dw, 0))[0].astype(c.q.dtype)

    phi_q, q_vjp = jax.vjp(lambda q: self.features(q, c.reads), c.q)
    dphi_q = einsum('bhcv,bhfv->bhcf', dnum, state.kv.astype(dnum.dtype))
    dphi_q += dden[..., None] * state.k[:, :, None]
    dq = einsum('bhcj,bhjd->bhcd', ddot, c.k)
    dq += q_vjp(dphi_q.astype(phi_q.dtype))[0]

    dk, dv = self.written_vjp(c.k, c.v, c.writes, dstate)
    dk += einsum('bhcj,bhcd->bhjd', ddot, c.q)
    dv += einsum('bhcj,bhcv->bhjv', w.astype(c.v.dtype), dnum)
    return dq.astype(c.q.dtype), dk.astype(c.k.dtype), dv.astype(c.v.dtype)

  def written_vjp(self, k, v, writes, dstate):
    """Float32 cotangents of keys and values that were added to the state."""
    phi, k_vjp = jax.vjp(lambda k: self.features(k, writes), k)
    dkv = dstate.kv.astype(v.dtype)
    dphi = einsum('bhcv,bhfv->bhcf', v, dkv) + dstate.k[:, :, None]
    dk = k_vjp(dphi.astype(phi.dtype))[0].astype(jnp.float32)
    return dk, einsum('bhcf,bhfv->bhcv', phi, dkv)

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
