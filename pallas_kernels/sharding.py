"""Runs an operation on each device's own rows and heads.

Without this, XLA would gather the inputs of a kernel, and every device would
compute all of them.
"""

from collections.abc import Callable, Sequence
import math
from typing import Any

import jax
from jax.sharding import AxisType


def free_axes() -> set[str]:
  """The axes of the current mesh that no enclosing `shard_map` has mapped."""
  mesh = jax.sharding.get_abstract_mesh()
  kinds = zip(mesh.axis_names, mesh.axis_types)
  return {name for name, kind in kinds if kind != AxisType.Manual}


def axes_that_divide(size: int, names: Sequence[str]) -> tuple[str, ...] | None:
  """Returns the mesh axes that can share `size` rows or heads, or None.

  These are the named axes that the current mesh has and that are not mapped
  yet. Their product must divide `size`.
  """
  mesh, free = jax.sharding.get_abstract_mesh(), free_axes()
  # Without axes of one device, as XLA names them: jax would compile again for
  # arrays that lie in the same places by another name.
  names = tuple(x for x in names if x in free and mesh.shape[x] > 1)
  shards = math.prod(mesh.shape[name] for name in names)
  return names if shards > 1 and size % shards == 0 else None


def on_shards(
    operation: Callable[..., Any], in_specs: Any, out_specs: Any
) -> Callable[..., Any]:
  """Returns a function that runs `operation` on the shards of each device.

  Args:
    operation: a function of arrays that is the same for all shards.
    in_specs: a PartitionSpec for each argument.
    out_specs: a PartitionSpec for each result. If no spec names an axis,
      `operation` itself is returned.
  """
  specs = jax.tree.leaves((in_specs, out_specs))
  if not any(axis for spec in specs for axis in spec):
    return operation
  return jax.shard_map(
      operation,
      in_specs=in_specs,
      out_specs=out_specs,
      axis_names=free_axes(),
      check_vma=False,  # custom derivatives do not support it
  )
