"""Prefix linear attention in chunks: linear time and memory, on any device.

Inside a chunk every pair is weighed; what came before is read from the state.
Backward recomputes the states and the features instead of keeping them.
"""

import functools
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap
from pallas_kernels.prefix_linear_attention.inputs import State

CHUNK = 128

# Operands keep their dtype; sums are float32. The default precision of float32
# operands is lower than that on accelerators.
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
  """Returns the outputs [B, L, H, V] and the state after the last token."""
  del plain  # masks are always read
  chunk = min(chunk, inputs.q.shape[1])
  inputs = inputs_lib.with_state(inputs, feature_map)
  y, state = _chunked(inputs, feature_map, normalizer, chunk)
  return y, state if return_state else None


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _chunked(inputs, feature_map, normalizer, chunk):
  return _forward(inputs, feature_map, normalizer, chunk)[0]


def _forward(inputs, feature_map, normalizer, chunk):
  op = _Op(feature_map)
  start = op.read_prefix(inputs.state, *_prefix_chunks(inputs, chunk))

  def step(state, c):
    num, den = op.outputs(state, c)
    y = inputs_lib.normalize(num, den, normalizer)
    return op.update(state, c), (y.astype(c.v.dtype), den)

  state, (y, den) = lax.scan(step, start, _causal_chunks(inputs, chunk))
  L = inputs.q.shape[1]
  return (_join(y, L), state), (inputs, _join(y, L), _join(den, L))


def _backward(feature_map, normalizer, chunk, residuals, cotangents):
  inputs, y, den = residuals
  dy, dstate = cotangents
  op = _Op(feature_map)
  divisor, divisor_vjp = jax.vjp(inputs_lib.NORMALIZERS[normalizer], den)
  dnum = dy / divisor[..., None]  # float32, as the divisor is
  dden = divisor_vjp(-_einsum('blhv,blhv->blh', dnum, y))[0]

  chunks = _causal_chunks(inputs, chunk)
  prefix = _prefix_chunks(inputs, chunk)
  start = op.read_prefix(inputs.state, *prefix)
  _, states = lax.scan(lambda s, c: (op.update(s, c), s), start, chunks)
  grads = _split(dnum.astype(y.dtype), chunk), _split(dden, chunk)

  def step(dstate, xs):
    c, state, dnum, dden = xs
    dq, dk, dv = op.chunk_vjp(c, state, dnum, dden, dstate)
    return op.update_vjp(c, dnum, dden, dstate), (dq, dk, dv)

  dstate, dqkv = lax.scan(step, dstate, (chunks, states, *grads), reverse=True)
  L, P = inputs.q.shape[1], inputs.k_enc.shape[1]
  dq, dk, dv = (_join(x, L) for x in dqkv)
  dk_enc, dv_enc = (_join(x, P) for x in op.read_prefix_vjp(dstate, *prefix))
  zero = None  # of masks and segments
  return (
      inputs_lib.Inputs(dq, dk, dv, dk_enc, dv_enc, zero, zero, zero, dstate),
  )


_chunked.defvjp(_forward, _backward)


class _Chunk(NamedTuple):
  """C positions of every row and head; the state knows one open segment."""

  q: jax.Array  # [B, H, C, D]
  k: jax.Array  # [B, H, C, D]
  v: jax.Array  # [B, H, C, V]
  segment: jax.Array  # [B, C]
  mask: jax.Array  # [B, C]
  opened: jax.Array  # [B], the segment whose state reaches this chunk

  @property
  def sees(self):  # [B, 1, C, C], which keys of the chunk a query sees
    same = self.segment[:, :, None] == self.segment[:, None, :]
    return (jnp.tril(same) & self.mask[:, None, :])[:, None]

  @property
  def reads(self):  # [B, 1, C, 1], which queries see the state
    return (self.segment == self.opened[:, None])[:, None, :, None]

  @property
  def writes(self):  # [B, 1, C, 1], which keys enter the state
    last = self.segment[:, -1:]
    return ((self.segment == last) & self.mask)[:, None, :, None]

  @property
  def keeps(self):  # [B, 1], whether the open segment still is at the end
    return (self.segment[:, -1] == self.opened)[:, None]


class _Op(NamedTuple):
  """The arithmetic of one chunk: S += φ(k) vᵀ, y = φ(q)·S + Σ kernel(q, k) v.

  Cotangents of `f` are computed by `f_vjp`.
  """

  feature_map: FeatureMap

  def features(self, x, mask):
    return self.feature_map.features(x) * mask.astype(x.dtype)

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
    phi = self.features(c.k, c.writes)
    keeps = c.keeps.astype(jnp.float32)
    return State(
        state.kv * keeps[..., None, None]
        + _einsum('bhcf,bhcv->bhfv', phi, c.v),
        state.k * keeps[..., None] + _einsum('bhcf->bhf', phi),
    )

  def update_vjp(self, c, dnum, dden, dstate):
    """The cotangent of the state that reaches the chunk."""
    phi = self.features(c.q, c.reads)
    keeps = c.keeps.astype(jnp.float32)
    return State(
        dstate.kv * keeps[..., None, None]
        + _einsum('bhcf,bhcv->bhfv', phi, dnum),
        dstate.k * keeps[..., None]
        + _einsum('bhcf,bhc->bhf', phi.astype(jnp.float32), dden),
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
    """Cotangents of keys and values that were added to the state, float32."""
    phi, k_vjp = jax.vjp(lambda k: self.features(k, writes), k)
    dkv = dstate.kv.astype(v.dtype)
    dphi = _einsum('bhcv,bhfv->bhcf', v, dkv) + dstate.k[:, :, None]
    dk = k_vjp(dphi.astype(phi.dtype))[0].astype(jnp.float32)
    return dk, _einsum('bhcf,bhfv->bhcv', phi, dkv)

  def read_prefix(self, state, count, k, v, mask):
    """Adds the first `count` chunks; the others cost nothing."""

    def body(i, state):
      k_i, v_i, mask_i = (_at(x, i) for x in (k, v, mask))
      phi = self.features(k_i, mask_i)
      return State(
          state.kv + _einsum('bhcf,bhcv->bhfv', phi, v_i),
          state.k + _einsum('bhcf->bhf', phi),
      )

    return lax.fori_loop(0, count, body, state) if len(k) else state

  def read_prefix_vjp(self, dstate, count, k, v, mask):
    def body(i, grads):
      k_i, v_i, mask_i = (_at(x, i) for x in (k, v, mask))
      grads_i = self.written_vjp(k_i, v_i, mask_i, dstate)
      return tuple(
          lax.dynamic_update_index_in_dim(g, g_i.astype(g.dtype), i, 0)
          for g, g_i in zip(grads, grads_i)
      )

    zeros = jnp.zeros_like(k), jnp.zeros_like(v)
    return lax.fori_loop(0, count, body, zeros) if len(k) else zeros


def _at(x, i):
  return lax.dynamic_index_in_dim(x, i, axis=0, keepdims=False)


def _split(x, chunk):
  """[B, L, H, ...] to [N, B, H, C, ...], the last chunk filled with zeros."""
  B, L, H, *rest = x.shape
  N = -(-L // chunk)
  x = jnp.pad(x, [(0, 0), (0, N * chunk - L)] + [(0, 0)] * (x.ndim - 2))
  x = x.reshape(B, N, chunk, H, *rest)
  return jnp.moveaxis(x, (1, 3), (0, 2))


def _join(x, L):
  """Undoes `_split`."""
  N, B, H, C, *rest = x.shape
  x = jnp.moveaxis(x, (0, 2), (1, 3)).reshape(B, N * C, H, *rest)
  return x[:, :L]


def _causal_chunks(inputs, chunk):
  mask = _split(inputs.mask[..., None], chunk)[:, :, 0]
  # Filling keeps the last segment open, so that its state survives to the end.
  fill = -inputs.q.shape[1] % chunk
  segment = jnp.pad(inputs.segment, ((0, 0), (0, fill)), mode='edge')
  segment = _split(segment[..., None], chunk)[:, :, 0]
  first = jnp.zeros_like(segment[:1, :, 0])
  return _Chunk(
      *(_split(x, chunk) for x in (inputs.q, inputs.k, inputs.v)),
      segment=segment,
      mask=mask,
      opened=jnp.concatenate([first, segment[:-1, :, -1]]),
  )


def _prefix_chunks(inputs, chunk):
  """How many chunks hold prefix, and k, v and mask of all of them."""
  positions = 1 + jnp.arange(inputs.prefix_mask.shape[1])
  longest = jnp.max(jnp.where(inputs.prefix_mask, positions, 0), initial=0)
  mask = _split(inputs.prefix_mask[..., None], chunk)[..., None]
  k, v = _split(inputs.k_enc, chunk), _split(inputs.v_enc, chunk)
  return -(-longest // chunk), k, v, mask
