"""Runs an operation on each device's own rows and heads.

Left alone, XLA gathers the inputs of a kernel and runs it on all of them on
every device.
"""

from collections.abc import Callable, Sequence
import math
from typing import Any

import jax
from jax.sharding import AxisType


def free_axes() -> set[str]:
  """Axes of the mesh that is set which no `shard_map` around has mapped."""
  mesh = jax.sharding.get_abstract_mesh()
  kinds = zip(mesh.axis_names, mesh.axis_types)
  return {name for name, kind in kinds if kind != AxisType.Manual}


def axes_that_divide(size: int, names: Sequence[str]) -> tuple[str, ...] | None:
  """Returns the mesh axes that may share `size` rows or heads, None for none.

  These are the named axes of the mesh that is set, without those that it does
  not have or that are mapped already, if they divide `size` together.
  """
  mesh, free = jax.sharding.get_abstract_mesh(), free_axes()
  names = tuple(name for name in names if name in free)
  shards = math.prod(mesh.shape[name] for name in names)
  return names if shards > 1 and size % shards == 0 else None


def on_shards(
    operation: Callable[..., Any], in_specs: Any, out_specs: Any
) -> Callable[..., Any]:
  """Returns `operation`, run by each device on its shards.

  Args:
    operation: a function of arrays that treats shards alike.
    in_specs: a PartitionSpec for each array that it takes.
    out_specs: a PartitionSpec for each array that it returns; where none of
      the specs names an axis, the operation itself is returned.
  """
  if not any(axis for spec in jax.tree.leaves(out_specs) for axis in spec):
    return operation
  return jax.shard_map(
      operation,
      in_specs=in_specs,
      out_specs=out_specs,
      axis_names=free_axes(),
      check_vma=False,  # which custom derivatives do not support
  )
