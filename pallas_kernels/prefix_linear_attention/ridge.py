"""Ridge regression from the keys of a prefix to its values.

The sum B = Σ φ(k) vᵀ mixes up values whose keys are similar. Ridge regression
also takes the similarity of keys into account, A = Σ φ(k) φ(k)ᵀ, and finds the
matrix that maps each φ(k) as closely to its v as it can. Queries then read this
matrix in place of B:

    state = ridge_state(prefix_sums(k_enc, v_enc), strength)
    y = prefix_linear_attention(
        q, k, v, initial_state=state, normalizer='none'
    )

A and B are sums over tokens. Those of independent documents can be added, and
subtracted, before the matrix is computed.
"""

from collections.abc import Sequence
import functools
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jax.sharding import PartitionSpec

from pallas_kernels import sharding
from pallas_kernels.arguments import check_array
from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap

_einsum = functools.partial(
    jnp.einsum,
    preferred_element_type=jnp.float32,
    precision=lax.Precision.HIGHEST,
)


class PrefixSums(NamedTuple):
  """The sums over the tokens of a prefix, always float32.

  Attributes:
    kk: [B, H, F, F], the sum of φ(k) φ(k)ᵀ.
    kv: [B, H, F, V], the sum of φ(k) vᵀ.
  """

  kk: jax.Array
  kv: jax.Array


def prefix_sums(
    k_enc: jax.Array,
    v_enc: jax.Array,
    *,
    mask: jax.Array | None = None,
    feature_map: str | FeatureMap = 'taylor_exp',
    batch_axes: Sequence[str] = (),
    head_axes: Sequence[str] = (),
    sequence_axes: Sequence[str] = (),
) -> PrefixSums:
  """Returns the sums over a prefix.

  All features, [B, P, H, F] in the dtype of the keys, are in memory at once;
  the backward pass computes them again.

  Args:
    k_enc: [B, P, H, D], keys, bfloat16 or float32.
    v_enc: [B, P, H, V], values.
    mask: bool [B, P], which positions are prefix; None: all.
    feature_map, batch_axes, head_axes: see `prefix_linear_attention`.
    sequence_axes: the same for the P positions; all devices have the sums.

  Raises:
    ValueError: shapes or dtypes do not fit together, or a name is unknown.
  """
  feature_map = inputs_lib.find_map(feature_map)
  check_array('k_enc', k_enc, ('B', 'P', 'H', 'D'))
  B, P, H, _ = k_enc.shape
  check_array('v_enc', v_enc, (B, P, H, 'V'))
  if mask is None:
    mask = jnp.ones((B, P), bool)
  check_array('mask', mask, (B, P), jnp.bool_)
  axes = tuple(batch_axes), tuple(head_axes), tuple(sequence_axes)
  return _run_sums(k_enc, v_enc, mask, feature_map, *axes)


def ridge_state(
    sums: PrefixSums,
    strength: jax.Array,
    *,
    batch_axes: Sequence[str] = (),
    head_axes: Sequence[str] = (),
) -> inputs_lib.State:
  """Returns the state from which queries read the ridge regression of a prefix.

  With s the mean eigenvalue of A and λ the strength,

    kv = s (A + λ s I)⁻¹ B.

  The factor s gives the matrix the scale of B, so that causal tokens can be
  added to the state like to a sum; for large λ it is B / λ. An empty prefix
  gives 0. The sum of keys in the state is 0, so that the normalizer must be
  'none'. The matrix is factorised once, F³ / 3 FLOPs for each head in float32,
  and the backward pass solves with the same factor.

  Args:
    sums: those of a prefix; `kk` is symmetric.
    strength: λ, float32 [H]. It should be at least 1e-3: the condition number
      of the system is at most 1 + F / λ.
    batch_axes, head_axes: see `prefix_linear_attention`.

  Raises:
    ValueError: shapes or dtypes do not fit together.
  """
  check_array('sums.kk', sums.kk, ('B', 'H', 'F', 'F'), jnp.float32)
  B, H, F, _ = sums.kk.shape
  check_array('sums.kv', sums.kv, (B, H, F, 'V'), jnp.float32)
  check_array('strength', strength, (H,), jnp.float32)
  return _run_state(sums, strength, tuple(batch_axes), tuple(head_axes))


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _run_sums(k, v, mask, feature_map, batch_axes, head_axes, sequence_axes):
  B, P, H, _ = k.shape
  rows, heads = _axes(B, H, batch_axes, head_axes)
  parts = sharding.axes_that_divide(P, sequence_axes)
  vectors, state = PartitionSpec(rows, parts, heads), PartitionSpec(rows, heads)

  @jax.checkpoint
  def sums(k, v, mask):
    phi = feature_map.features(k) * mask[..., None, None].astype(k.dtype)
    return PrefixSums(
        _einsum('bphf,bphg->bhfg', phi, phi),
        _einsum('bphf,bphv->bhfv', phi, v),
    )

  def of_all_parts(*arrays):
    return lax.psum(sums(*arrays), parts) if parts else sums(*arrays)

  specs = vectors, vectors, PartitionSpec(rows, parts)
  of_shards = sharding.on_shards(of_all_parts, specs, PrefixSums(state, state))
  return of_shards(k, v, mask)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _run_state(sums, strength, batch_axes, head_axes):
  B, H = sums.kk.shape[:2]
  rows, heads = _axes(B, H, batch_axes, head_axes)
  state = PartitionSpec(rows, heads)
  specs = PrefixSums(state, state), PartitionSpec(heads)
  kv = sharding.on_shards(_scaled_solution, specs, state)(sums, strength)
  return inputs_lib.State(kv, jnp.zeros_like(kv[..., 0]))


def _axes(B, H, batch_axes, head_axes):
  return (
      sharding.axes_that_divide(B, batch_axes),
      sharding.axes_that_divide(H, head_axes),
  )


def _scaled_solution(sums, strength):
  """(A / s + λ I)⁻¹ B, where s is the mean eigenvalue of A."""
  F = sums.kk.shape[-1]
  mean = jnp.trace(sums.kk, axis1=-2, axis2=-1) / F
  scale = jnp.where(mean > 0, mean, 1)[..., None, None]  # nothing was read
  system = sums.kk / scale + strength[:, None, None] * jnp.eye(F)
  return _solve(system, sums.kv)


@jax.custom_vjp
def _solve(system, right):
  """Solves symmetric positive definite systems."""
  return _solve_forward(system, right)[0]


def _solve_forward(system, right):
  factor = lax.linalg.cholesky(system, symmetrize_input=False)
  solution = cho_solve((factor, True), right)
  return solution, (factor, solution)


def _solve_backward(kept, dsolution):
  factor, solution = kept
  dright = cho_solve((factor, True), dsolution)
  dsystem = -_einsum('bhfv,bhgv->bhfg', dright, solution)
  return (dsystem + jnp.swapaxes(dsystem, -1, -2)) / 2, dright


_solve.defvjp(_solve_forward, _solve_backward)
