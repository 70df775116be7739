"""The mesh axes over which a model is spread, where a mesh is set.

How each parameter lies on them is in `jrt_jax/cost/layout.py`.
"""

from collections.abc import Sequence

import jax
from jax.sharding import PartitionSpec

from jrt_jax.cost.layout import BATCH_AXES as BATCH_AXES
from jrt_jax.cost.layout import HEAD_AXES as HEAD_AXES
from pallas_kernels import sharding


def spread(x: jax.Array, axes: Sequence[str]) -> jax.Array:
  """Spreads the first axis of `x` over mesh axes; the others become whole."""
  if not sharding.free_axes():
    return x
  spec = PartitionSpec(sharding.axes_that_divide(len(x), axes))
  return jax.lax.with_sharding_constraint(x, spec)
