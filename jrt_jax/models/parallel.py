"""Divides arrays of a model over the axes of the current mesh, if there is one.

`jrt_jax/cost/weight.py` says how each parameter is divided.
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
  """Returns how an array is divided over the current mesh.

  Args:
    shape: the shape of the array.
    axes: for each of its first axes, the mesh axes that divide it; None: not
      divided. An axis whose length they do not divide is not divided either.
  """
  return PartitionSpec(
      *(
          names and sharding.axes_that_divide(size, names)
          for size, names in zip(shape, axes)
      )
  )


def lay(tree: Any, axes: Sequence[Sequence[str] | None]) -> Any:
  """Divides all arrays of `tree` over the current mesh, see `spec`."""
  if not sharding.free_axes():
    return tree
  return jax.tree.map(
      lambda x: jax.lax.with_sharding_constraint(x, spec(x.shape, axes)), tree
  )


def spread(x: jax.Array, axes: Sequence[str]) -> jax.Array:
  """Divides the first axis of `x` over mesh axes, and no other axis."""
  if not sharding.free_axes():
    return x
  spec = PartitionSpec(sharding.axes_that_divide(len(x), axes))
  return jax.lax.with_sharding_constraint(x, spec)
