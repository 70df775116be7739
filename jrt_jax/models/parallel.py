"""Divides arrays of a model over the axes of the current mesh, if there is one.

`jrt_jax/cost/weight.py` says how each parameter is divided.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jrt_jax.cost.weight import BATCH_AXES as BATCH_AXES
from jrt_jax.cost.weight import HEAD_AXES as HEAD_AXES
from jrt_jax.cost.weight import SEQUENCE_AXES as SEQUENCE_AXES
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


def sequence_axes(length: int) -> tuple[str, ...]:
  """Returns the axes of the current mesh that divide rows of `length`."""
  return sharding.axes_that_divide(length, SEQUENCE_AXES) or ()


def before(
    x: jax.Array,
    count: int,
    axes: Sequence[str],
    first: jax.Array | None = None,
) -> jax.Array:
  """Returns what the previous device has of the positions before its own.

  For use inside of a `shard_map`.

  Args:
    x: [B, L, ...], the positions of this device.
    count: number of positions to return.
    axes: the mesh axes that divide the positions.
    first: [B, count, ...], what is before the first position of the rows; None:
      zeros.

  Returns:
    [B, count, ...], the last positions of the previous device; `first` on the
    device that has the first positions.

  Raises:
    ValueError: `count` exceeds L.
  """
  if count > x.shape[1]:
    raise ValueError(
        f'each device must have at least the {count} positions that the next one'
        f' sees of it, got {x.shape[1]}: config.mesh.sequence is too large'
    )
  pairs = [(i, i + 1) for i in range(lax.axis_size(axes) - 1)]
  previous = lax.ppermute(x[:, x.shape[1] - count :], axes, pairs)
  if first is None:
    return previous
  return jnp.where(lax.axis_index(axes) == 0, first, previous)


def take(x: jax.Array, index: jax.Array, axes: Sequence[str]) -> jax.Array:
  """Returns some positions of each row, on all devices that share the row.

  Args:
    x: [B, L, ...].
    index: int32 [B, n], the positions.
    axes: the mesh axes that divide the L positions; devices exchange what is
      returned.

  Returns:
    [B, n, ...].
  """
  if not axes:
    return x[jnp.arange(len(x))[:, None], index]

  def of_device(x, index):
    B, L = x.shape[:2]
    index = index - L * lax.axis_index(axes)
    own = (index >= 0) & (index < L)
    taken = x[jnp.arange(B)[:, None], jnp.clip(index, 0, L - 1)]
    own = jnp.expand_dims(own, [*range(2, x.ndim)])
    return lax.psum(jnp.where(own, taken, 0), axes)

  places = spec(x.shape, (BATCH_AXES, axes, HEAD_AXES))
  rows, _, *others = (*places, *[None] * (x.ndim - len(places)))
  return sharding.on_shards(
      of_device,
      (places, PartitionSpec(rows)),
      PartitionSpec(rows, None, *others),
  )(x, index)


def running_sum(x: jax.Array, axes: Sequence[str]) -> jax.Array:
  """Returns the sums over all positions up to each one, of int32 [B, L].

  Args:
    x: the numbers.
    axes: the mesh axes that divide the positions; devices exchange one number
      for each row.
  """
  return _running(x, axes, lax.cumsum, jnp.sum, jnp.add)


def running_maximum(x: jax.Array, axes: Sequence[str]) -> jax.Array:
  """As `running_sum`, the maxima of numbers that are not negative."""
  return _running(x, axes, lax.cummax, jnp.max, jnp.maximum)


def _running(x, axes, accumulate, reduce, join):
  def of_device(x):
    own = accumulate(x, axis=1)
    totals = lax.all_gather(own[:, -1], axes)  # [devices, B]
    place = jnp.arange(len(totals))[:, None]
    earlier = jnp.where(place < lax.axis_index(axes), totals, 0)
    return join(own, reduce(earlier, axis=0)[:, None])

  if not axes:
    return accumulate(x, axis=1)
  places = spec(x.shape, (BATCH_AXES, axes))
  return sharding.on_shards(of_device, (places,), places)(x)
