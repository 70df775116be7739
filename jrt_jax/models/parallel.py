"""The mesh axes over which a model is spread, where a mesh is set.

How each parameter lies on them is a fact of it: see `jrt_jax/cost/weight.py`.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import PartitionSpec

from jrt_jax.cost.weight import BATCH_AXES as BATCH_AXES
from jrt_jax.cost.weight import HEAD_AXES as HEAD_AXES
from pallas_kernels import sharding


def spec(
    shape: Sequence[int], axes: Sequence[Sequence[str] | None]
) -> PartitionSpec:
  """Returns how an array lies on the mesh that is set.

  Args:
    shape: of the array.
    axes: of the mesh, which share each of its first axes; None: it is whole, as
      one is that they do not divide.
  """
  return PartitionSpec(
      *(
          names and sharding.axes_that_divide(size, names)
          for size, names in zip(shape, axes)
      )
  )


def lay(tree: Any, axes: Sequence[Sequence[str] | None]) -> Any:
  """Divides all arrays of `tree` over the mesh that is set, as `spec` says."""
  if not sharding.free_axes():
    return tree
  return jax.tree.map(
      lambda x: jax.lax.with_sharding_constraint(x, spec(x.shape, axes)), tree
  )


def spread(x: jax.Array, axes: Sequence[str]) -> jax.Array:
  """Spreads the first axis of `x` over mesh axes; the others become whole."""
  if not sharding.free_axes():
    return x
  spec = PartitionSpec(sharding.axes_that_divide(len(x), axes))
  return jax.lax.with_sharding_constraint(x, spec)
