"""The ridge regression of a prefix, with a trained strength."""

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


class RidgePrefix(nnx.Module):
  """The strength λ = λ_least + exp(w) of each head, with w trained.

  `pallas_kernels.ridge_state` has the equation. λ counts in units of the mean
  eigenvalue of Σ φ(k) φ(k)ᵀ, so that it does not depend on how many keys there
  are, or how long.

  Args:
    num_heads: H.
    num_features: F.
  """

  def __init__(self, num_heads: int, num_features: int):
    self.log_strength = nnx.Param(jnp.full(num_heads, math.log(_FIRST)))
    self.least = max(_LEAST, _LEAST_BY_FEATURE * num_features)

  def strength(self) -> jax.Array:
    """Returns λ, float32 [H]."""
    return self.least + jnp.exp(self.log_strength[...])

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
    return pallas_kernels.ridge_state(sums, self.strength(), **_AXES)
