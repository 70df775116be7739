"""The gated delta rule as it is defined: one token after another."""

import jax
import jax.numpy as jnp

from pallas_kernels.gated_delta_rule.inputs import Inputs


def reference(inputs: Inputs) -> tuple[jax.Array | None, jax.Array]:
  """Returns the outputs [B, L, H, V], if there are queries, and the last state.

  It computes in float32, or in float64 for inputs of float64.
  """
  dtype = jnp.promote_types(inputs.v.dtype, jnp.float32)
  starts = jnp.diff(inputs.segment, axis=1, prepend=0) != 0
  decay = jnp.where(starts[..., None], 0, jnp.exp(inputs.log_decay))

  def read(state, token):
    return step(*token, state)

  q = inputs.k if inputs.q is None else inputs.q
  tokens = q, inputs.k, inputs.v, decay, inputs.beta
  tokens = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0).astype(dtype), tokens)
  state, y = jax.lax.scan(read, inputs.state.astype(dtype), tokens)
  if inputs.q is None:
    return None, state
  return jnp.moveaxis(y, 0, 1).astype(inputs.v.dtype), state


def step(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    decay: jax.Array,
    beta: jax.Array | None,
    state: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Returns the next state [B, H, D, V] and outputs [B, H, V] of one token.

  Args:
    q, k: [B, G, D], of which each is shared by H / G heads.
    v: [B, H, V].
    decay: [B, H], what remains of the state.
    beta: [B, H], or None.
    state: [B, H, D, V], whose dtype all are computed in.
  """
  H = v.shape[1]
  q, k = (jnp.repeat(x, H // x.shape[1], axis=1) for x in (q, k))
  state = state * decay[..., None, None]
  if beta is not None:
    v = beta[..., None] * (v - jnp.einsum('bhd,bhdv->bhv', k, state))
  state = state + k[..., None] * v[..., None, :]
  return state, jnp.einsum('bhd,bhdv->bhv', q, state)
