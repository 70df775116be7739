"""Prefix linear attention in chunks: linear time and memory, on any device.

Inside a chunk the weight of every pair is computed; earlier tokens are read
from the state. The backward pass recomputes states and features instead of
keeping them.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import chunk_products
from pallas_kernels.prefix_linear_attention import chunks
from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention import own_prefixes
from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap

CHUNK = 128


def chunked(
    inputs: inputs_lib.Inputs,
    *,
    feature_map: FeatureMap,
    normalizer: str,
    plain: bool = False,
    return_state: bool = True,
    chunk: int = CHUNK,
) -> tuple[jax.Array, inputs_lib.State | None]:
  """Returns the outputs [B, L, H, V] and the state after the last token.

  If rows are `plain` (tokens of a single document), no mask is read.
  """
  rows, places, used = inputs, None, None
  if inputs.prefix_segment is not None:
    rows, places, used = own_prefixes.causal_rows(inputs)
    plain = False
  L = rows.q.shape[1]
  chunk = min(chunk, L)
  plain = plain and L % chunk == 0  # otherwise the last chunk is padded
  rows = inputs_lib.with_state(rows, feature_map)
  y, state = _chunked(rows, used, feature_map, normalizer, plain, chunk)
  if places is not None:
    y = own_prefixes.of_tokens(y, places)
  return y, state if return_state else None


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _chunked(inputs, used, feature_map, normalizer, plain, chunk):
  """Computes the first `used` positions, or all if it is None."""
  return _forward(inputs, used, feature_map, normalizer, plain, chunk)[0]


def _forward(inputs, used, feature_map, normalizer, plain, chunk):
  op = chunk_products.Products(feature_map)
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
      _count(used, L, chunk),
      step,
      (
          op.read_prefix(inputs.state, _prefix(inputs, chunk)),
          jnp.zeros_like(causal.v),
          jnp.zeros((B, L, H), jnp.float32),
      ),
  )
  return (y[:, : inputs.q.shape[1]], state), (inputs, used, y, den)


def _backward(feature_map, normalizer, plain, chunk, residuals, cotangents):
  inputs, used, y, den = residuals
  dy, dstate = cotangents
  dy = chunks.filled(dy, chunk)
  op = chunk_products.Products(feature_map)
  causal = chunks.Causal.of(inputs, plain, chunk)
  prefix = _prefix(inputs, chunk)
  L = causal.q.shape[1]
  count = _count(used, L, chunk)

  def keep(i, carry):
    state, states = carry
    states = jax.tree.map(lambda xs, x: xs.at[i].set(x), states, state)
    return op.update(state, causal.chunk(i)), states

  first = op.read_prefix(inputs.state, prefix)
  states = jax.tree.map(
      lambda x: jnp.zeros((L // chunk, *x.shape), x.dtype), first
  )
  _, states = lax.fori_loop(0, count, keep, (first, states))

  def step(i, carry):
    i = count - 1 - i
    dstate, *grads = carry
    c, state = causal.chunk(i), jax.tree.map(lambda x: x[i], states)
    here = (chunks.take(x, i, chunk) for x in (dy, y, den))
    dnum, dden = _normalize_vjp(*here, normalizer)
    parts = op.chunk_vjp(c, state, dnum, dden, dstate)
    grads = [chunks.put(x, part, i, chunk) for x, part in zip(grads, parts)]
    return op.update_vjp(c, dnum, dden, dstate), *grads

  zeros = [jnp.zeros_like(x) for x in (causal.q, causal.k, causal.v)]
  dstate, *grads = lax.fori_loop(0, count, step, (dstate, *zeros))
  L, P = inputs.q.shape[1], inputs.k_enc.shape[1]
  dq, dk, dv = (x[:, :L] for x in grads)
  dk_enc, dv_enc = (x[:, :P] for x in op.read_prefix_vjp(dstate, prefix))
  zero = None  # the cotangent of masks, segments and `used`
  return (
      inputs_lib.Inputs(dq, dk, dv, dk_enc, dv_enc, zero, zero, zero, dstate),
      zero,
  )


_chunked.defvjp(_forward, _backward)


def _prefix(inputs, chunk):
  arrays = inputs.k_enc, inputs.v_enc, inputs.prefix_mask
  return chunks.Prefix.of(*arrays, chunk)


def _count(used, L, chunk):
  """The number of chunks that are computed."""
  return L // chunk if used is None else -(-used // chunk)


def _normalize_vjp(dy, y, den, normalizer):
  """Cotangents of numerators and denominators, float32."""
  divisor, divisor_vjp = jax.vjp(inputs_lib.NORMALIZERS[normalizer], den)
  dnum = dy / divisor[..., None]  # float32, as the divisor is
  dden = divisor_vjp(-chunk_products.einsum('bhcv,bhcv->bhc', dnum, y))[0]
  return dnum.astype(y.dtype), dden
