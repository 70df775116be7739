"""The gated delta rule of rows whose positions several devices share.

The recurrence is linear in the state before the part of a device, S:

  y_i = y'_i + (T_iᵀ q_i)ᵀ S,   S' = T S + S'_0,

where y' and S'_0 are what the part gives after a state of zeros, T_i what its
tokens up to i make of a state, and T the same of all its tokens. Devices
exchange T and S'_0 (`sequence.fold`), whose sizes do not depend on the length.

- Without β, T_i is a number for each head, the product of the decays.
- With β it is a matrix [D, D]. It is linear in the state as well: D more columns
  of values, all 0, whose initial state is the identity, have the final state T
  and the outputs T_iᵀ q_i. Each device reads its part once, with V + D columns.

Where a document begins, T is 0 from then on.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp

from pallas_kernels import sequence
from pallas_kernels.gated_delta_rule.chunked import einsum
from pallas_kernels.gated_delta_rule.inputs import Inputs
from pallas_kernels.gated_delta_rule.inputs import numbered


def read(
    axes: Sequence[str], run: Callable[..., Any], inputs: Inputs
) -> tuple[jax.Array | None, jax.Array]:
  """Returns the outputs of one device, and the state after the last token.

  Args:
    axes: the mapped axes of the mesh that share the positions.
    run: an implementation of the operation.
    inputs: the part of one device, before segments are numbered.
  """
  continues = jnp.ones(len(inputs.v), bool)
  if inputs.segment is not None:
    continues = ~sequence.Documents.of(inputs.segment, axes).begins
  inputs, initial = numbered(inputs), inputs.state
  read = _adding if inputs.beta is None else _erasing
  y, transition, from_state = read(run, inputs, continues)
  before, last = sequence.fold(_apply, transition, initial, axes)
  if y is not None:
    y = (y + from_state(before)).astype(inputs.v.dtype)
  return y, last


def _apply(transition, state):
  of_state, added = transition
  if of_state.ndim == 2:
    return of_state[..., None, None] * state + added
  return einsum('bhde,bhev->bhdv', of_state, state) + added


def _adding(run, inputs, continues):
  """Outputs and transition after a state of zeros; outputs from a state."""
  y, added = run(inputs._replace(state=jnp.zeros_like(inputs.state)))
  reads = (inputs.segment == 0) & continues[:, None]
  total = jnp.cumsum(inputs.log_decay, axis=1)
  left = jnp.where(reads[..., None], jnp.exp(total), 0)  # T_i [B, L, H]

  @jax.checkpoint  # else [B, L, H, V] is kept for the derivative of `left`
  def from_state(left, q, state):
    (B, L, G, D), (H, V) = q.shape, state.shape[1::2]
    grouped = state.reshape(B, G, H // G, D, V).astype(q.dtype)
    y = einsum('blgd,bgrdv->blgrv', q, grouped)
    return left[..., None] * y.reshape(B, L, H, V)

  return y, (left[:, -1], added), functools.partial(from_state, left, inputs.q)


def _erasing(run, inputs, continues):
  """The same with β."""
  (B, L, H, V), D = inputs.v.shape, inputs.k.shape[-1]
  identity = continues[:, None, None, None] * jnp.eye(D)
  state = jnp.zeros_like(inputs.state), jnp.tile(identity, (1, H, 1, 1))
  v = inputs.v, jnp.zeros((B, L, H, D), inputs.v.dtype)
  v, state = (jnp.concatenate(x, axis=-1) for x in (v, state))
  y, state = run(inputs._replace(v=v, state=state))
  added, of_state = jnp.split(state, [V], axis=-1)
  if y is None:
    return None, (of_state, added), None
  y, of_query = jnp.split(y, [V], axis=-1)  # y', T_iᵀ q_i

  def from_state(state):
    return einsum('blhd,bhdv->blhv', of_query, state.astype(of_query.dtype))

  return y, (of_state, added), from_state
