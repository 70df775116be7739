"""The public operations: they check their arguments and run an implementation."""

from collections.abc import Sequence
import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from pallas_kernels import dispatch
from pallas_kernels import sharding
from pallas_kernels.arguments import check_array
from pallas_kernels.gated_delta_rule import chunked
from pallas_kernels.gated_delta_rule import inputs as inputs_lib
from pallas_kernels.gated_delta_rule import reference
from pallas_kernels.gated_delta_rule import sequence_shards

IMPLEMENTATIONS = {
    'chunked': chunked.chunked,
    'reference': reference.reference,
}


def gated_delta_rule(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    log_decay: jax.Array,
    beta: jax.Array | None = None,
    *,
    initial_state: jax.Array | None = None,
    return_state: bool = False,
    segment_ids: jax.Array | None = None,
    mask: jax.Array | None = None,
    batch_axes: Sequence[str] = (),
    head_axes: Sequence[str] = (),
    sequence_axes: Sequence[str] = (),
    implementation: str | Sequence[str] = 'chunked',
) -> jax.Array | tuple[jax.Array, jax.Array]:
  """A linear recurrence that decays, and that overwrites what a key held.

  With a_i = exp(log_decay_i), each head computes

    S_i = a_i S_{i-1} + β_i k_i (v_i - a_i S_{i-1}ᵀ k_i)ᵀ,   y_i = S_iᵀ q_i,

  the recurrence of Gated DeltaNet. Without `beta` it adds k_i v_iᵀ and erases
  nothing, S_i = a_i S_{i-1} + k_i v_iᵀ, the recurrence of Mamba-2, where q, k,
  v and a are C, B, Δx and exp(ΔA). Queries and keys are taken as they are: the
  delta rule is stable where ‖k‖² β < 2, so that its caller normalises keys.
  Time and memory are linear in L. Differentiable in all arrays of floats, the
  initial and the returned state included.

  To read a prefix first, call it on the prefix, and pass the state that it
  returns as `initial_state` of the next call.

  Args:
    q: [B, L, G, D], queries, bfloat16 or float32; each of the G groups is
      shared by H / G heads.
    k: [B, L, G, D], keys, in the dtype of q.
    v: [B, L, H, V], values; their dtype is the dtype of the result.
    log_decay: float32 [B, L, H], at most 0.
    beta: float32 [B, L, H], how much of what its key held a token replaces.
    initial_state: float32 [B, H, D, V], what earlier calls returned, or None.
    return_state: whether to return the state after the last token, too.
    segment_ids: int32 [B, L], packed documents: a change of the id resets the
      state. The initial state belongs to the first, the returned one to the
      last.
    mask: bool [B, L], False where there is no token: the state stays as it is.
    batch_axes, head_axes: names of mesh axes among which rows and groups are
      divided (heads, if G is 1), as in `prefix_linear_attention`.
    sequence_axes: the same for the L positions of each row, of which each
      device has one part. Devices exchange states and what a part makes of an
      earlier state, see `sequence_shards`; their size does not depend on L.
    implementation: 'chunked' or 'reference' (one token after another), or
      several to try in order.

  Returns:
    [B, L, H, V], and with `return_state` the float32 state [B, H, D, V].

  Raises:
    ValueError: shapes or dtypes do not fit together, or a name is unknown.

  Source: Yang et al. 2024, equation 10, https://arxiv.org/abs/2412.06464; Dao
  and Gu 2024, https://arxiv.org/abs/2405.21060.
  """
  check_array('q', q, ('B', 'L', 'G', 'D'))
  check_array('k', k, q.shape, q.dtype)
  inputs = _inputs(q, k, v, log_decay, beta, initial_state, segment_ids, mask)
  axes = tuple(batch_axes), tuple(head_axes), tuple(sequence_axes)
  results = _run(inputs, _names(implementation), *axes)
  return results if return_state else results[0]


def gated_delta_rule_state(
    k: jax.Array,
    v: jax.Array,
    log_decay: jax.Array,
    beta: jax.Array | None = None,
    *,
    initial_state: jax.Array | None = None,
    mask: jax.Array | None = None,
    batch_axes: Sequence[str] = (),
    head_axes: Sequence[str] = (),
    sequence_axes: Sequence[str] = (),
    implementation: str | Sequence[str] = 'chunked',
) -> jax.Array:
  """Returns the state that `gated_delta_rule` returns, and computes no outputs.

  For a text that is only read, as a prefix is.

  Args:
    k, v, log_decay, beta, initial_state, mask, batch_axes, head_axes,
    sequence_axes, implementation: see `gated_delta_rule`.

  Returns:
    float32 [B, H, D, V].

  Raises:
    ValueError: see `gated_delta_rule`.
  """
  check_array('k', k, ('B', 'L', 'G', 'D'))
  inputs = _inputs(None, k, v, log_decay, beta, initial_state, None, mask)
  axes = tuple(batch_axes), tuple(head_axes), tuple(sequence_axes)
  return _run(inputs, _names(implementation), *axes)[1]


def _inputs(q, k, v, log_decay, beta, initial_state, segment_ids, mask):
  """Checks all arguments but queries and keys, and completes them."""
  B, L, G, D = k.shape
  if not L:
    name = 'k' if q is None else 'q'
    raise ValueError(f'{name} must hold at least one token, got L = 0')
  check_array('v', v, (B, L, 'H', 'V'))
  H, V = v.shape[2:]
  _check_groups(G, H)
  expected = {
      'log_decay': (log_decay, (B, L, H), jnp.float32),
      'beta': (beta, (B, L, H), jnp.float32),
      'initial_state': (initial_state, (B, H, D, V), jnp.float32),
      'segment_ids': (segment_ids, (B, L), jnp.int32),
      'mask': (mask, (B, L), jnp.bool_),
  }
  for name, (x, shape, dtype) in expected.items():
    if x is not None:
      check_array(name, x, shape, dtype)
  if initial_state is None:
    initial_state = jnp.zeros((B, H, D, V), jnp.float32)
  v, log_decay, beta = inputs_lib.without_padding(v, log_decay, beta, mask)
  return inputs_lib.Inputs(q, k, v, log_decay, beta, segment_ids, initial_state)


def _names(implementation):
  return (
      (implementation,)
      if isinstance(implementation, str)
      else tuple(implementation)
  )


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _run(inputs, names, batch_axes, head_axes, sequence_axes):
  """Compiled once where the caller compiles nothing, else part of the whole."""
  (B, L, G, _), H = inputs.k.shape, inputs.v.shape[2]
  rows = sharding.axes_that_divide(B, batch_axes)
  heads = sharding.axes_that_divide(H if G == 1 else G, head_axes)
  parts = sharding.axes_that_divide(L, sequence_axes)
  vectors = PartitionSpec(rows, parts, heads)
  state = PartitionSpec(rows, heads)
  keys = PartitionSpec(rows, parts) if G == 1 else vectors
  specs = inputs_lib.Inputs(
      None if inputs.q is None else keys,
      keys,
      *[vectors] * 2,
      None if inputs.beta is None else vectors,
      None if inputs.segment is None else PartitionSpec(rows, parts),
      state,
  )
  run = functools.partial(
      dispatch.run, 'gated_delta_rule', IMPLEMENTATIONS, names
  )
  read = lambda inputs: run(inputs_lib.numbered(inputs))
  if parts:
    read = functools.partial(sequence_shards.read, parts, run)
  outputs = None if inputs.q is None else vectors
  return sharding.on_shards(read, (specs,), (outputs, state))(inputs)


def gated_delta_rule_step(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    log_decay: jax.Array,
    beta: jax.Array | None,
    state: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Reads one token and returns its output and the state that follows.

  Args:
    q, k: [B, G, D], bfloat16 or float32.
    v: [B, H, V]; its dtype is the dtype of the result.
    log_decay: float32 [B, H].
    beta: float32 [B, H], or None.
    state: float32 [B, H, D, V], of `gated_delta_rule` or of the last step.

  Returns:
    [B, H, V] and the state.

  Raises:
    ValueError: shapes or dtypes do not fit together.
  """
  check_array('q', q, ('B', 'G', 'D'))
  B, G, D = q.shape
  check_array('k', k, q.shape, q.dtype)
  check_array('v', v, (B, 'H', 'V'))
  H, V = v.shape[1:]
  _check_groups(G, H)
  check_array('log_decay', log_decay, (B, H), jnp.float32)
  if beta is not None:
    check_array('beta', beta, (B, H), jnp.float32)
  check_array('state', state, (B, H, D, V), jnp.float32)
  q, k, x = (x.astype(jnp.float32) for x in (q, k, v))
  state, y = reference.step(q, k, x, jnp.exp(log_decay), beta, state)
  return y.astype(v.dtype), state


def _check_groups(G, H):
  if H % G:
    raise ValueError(
        f'v must have a multiple of the G = {G} heads of q, got H = {H}'
    )
