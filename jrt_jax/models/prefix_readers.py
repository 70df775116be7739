"""What queries read of a prefix in place of the sum of φ(k) vᵀ.

A reader also needs Σ φ(k) φ(k)ᵀ. It has a trained strength for each head, and
makes a state of the same size as that of the sum.
"""

from collections.abc import Sequence
import math

from flax import nnx
import jax
import jax.numpy as jnp

from jrt_jax.models import parallel
import pallas_kernels

_FIRST = 0.01  # above the least strength, in the first step of training
# The condition number of a system is at most F / λ, so 10^5.
_LEAST = 1e-3
_LEAST_BY_FEATURE = 1e-5
_AXES = {
    'batch_axes': parallel.BATCH_AXES,
    'head_axes': parallel.HEAD_AXES,
}


class PrefixReader(nnx.Module):
  """A reader with the strength exp(w), where w is trained.

  Args:
    num_heads: H.
    first: exp(w) in the first step of training.
  """

  def __init__(self, num_heads: int, first: float):
    self.log_strength = nnx.Param(jnp.full(num_heads, math.log(first)))

  def sums(
      self,
      k: jax.Array,
      v: jax.Array,
      mask: jax.Array | None,
      feature_map: pallas_kernels.FeatureMap,
      sequence_axes: Sequence[str] = (),
  ) -> pallas_kernels.PrefixSums:
    """Returns the sums over keys [B, L, H, D] and values [B, L, H, V].

    `sequence_axes` are the mesh axes that divide the L positions.
    """
    return pallas_kernels.prefix_sums(
        k,
        v,
        mask=mask,
        feature_map=feature_map,
        sequence_axes=sequence_axes,
        **_AXES,
    )

  def state(self, sums: pallas_kernels.PrefixSums) -> pallas_kernels.State:
    """Returns what queries read of a prefix with these sums."""
    raise NotImplementedError


class RidgePrefix(PrefixReader):
  """The ridge regression from φ(k) to v; `pallas_kernels.ridge_state` has it.

  Its strength λ = λ_least + exp(w) counts in units of the mean eigenvalue of
  Σ φ(k) φ(k)ᵀ, so that it depends neither on the number of keys nor on their
  norms.

  Args:
    num_heads: H.
  """

  def __init__(self, num_heads: int):
    super().__init__(num_heads, _FIRST)

  def strength(self, num_features: int) -> jax.Array:
    """Returns λ for F features, float32 [H]."""
    least = max(_LEAST, _LEAST_BY_FEATURE * num_features)
    return least + jnp.exp(self.log_strength[...])

  def state(self, sums: pallas_kernels.PrefixSums) -> pallas_kernels.State:
    strength = self.strength(sums.kk.shape[-1])
    return pallas_kernels.ridge_state(sums, strength, **_AXES)


class ContractedPrefix(PrefixReader):
  """The sum B = Σ φ(k) vᵀ, with less of the directions that many keys share.

  With A = Σ φ(k) φ(k)ᵀ and the strength β = exp(w), which is 1 at first, a
  query reads φ(q)ᵀ (I - β A / tr A) B. For small β this is, to first order and
  up to a factor, the ridge regression of strength F / β. The strength has no
  upper bound: above tr A / λ_max, the sign of the densest direction changes.

  Args:
    num_heads: H.

  Source: after the curvature-conditioned queries of
  https://arxiv.org/abs/2606.01294, which are contracted by the covariance of
  all keys so far.
  """

  def __init__(self, num_heads: int):
    super().__init__(num_heads, 1.0)

  def state(self, sums: pallas_kernels.PrefixSums) -> pallas_kernels.State:
    total = jnp.trace(sums.kk, axis1=-2, axis2=-1)  # [B, H]
    total = jnp.where(total > 0, total, 1)  # nothing was read
    share = jnp.exp(self.log_strength[...]) / total
    shared = jnp.einsum(
        'bhfg,bhgv->bhfv',
        sums.kk,
        sums.kv,
        precision=jax.lax.Precision.HIGHEST,
    )
    kv = sums.kv - share[..., None, None] * shared
    return pallas_kernels.State(kv, jnp.zeros_like(kv[..., 0]))


# The class of each `config.model.pla.prefix_reader` but the sum.
READERS = {'ridge': RidgePrefix, 'contracted': ContractedPrefix}
