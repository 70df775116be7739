"""The mesh axes over which a model is spread, where a mesh is set.

How each parameter lies on them is in `jrt_jax/training/sharding.py`.
"""

from collections.abc import Sequence

import jax
from jax.sharding import PartitionSpec

from pallas_kernels import sharding

BATCH_AXES = ('data', 'fsdp')  # share the rows of a batch
HEAD_AXES = ('tensor',)  # share the heads of a mixer


def spread(x: jax.Array, axes: Sequence[str]) -> jax.Array:
  """Spreads the first axis of `x` over mesh axes; the others become whole."""
  if not sharding.free_axes():
    return x
  spec = PartitionSpec(sharding.axes_that_divide(len(x), axes))
  return jax.lax.with_sharding_constraint(x, spec)
