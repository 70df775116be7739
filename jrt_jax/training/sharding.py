"""Where everything lives: the mesh, and shardings of batches and parameters."""

from collections.abc import Mapping, Sequence
import math
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
import numpy as np

AXES = ('data', 'fsdp', 'tensor')
BATCH_AXES = ('data', 'fsdp')  # over which the rows of a batch are spread


def make_mesh(
    config: Mapping[str, int], devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """Returns a mesh with the axes of `AXES`.

  Args:
    config: the `mesh` keys of `configs/base.py`; data = -1 takes every device
      that the other axes leave, other sizes take the first devices they need.
    devices: the devices to choose from; all of them by default.

  Raises:
    ValueError: a size is impossible, or there are too few devices.
  """
  devices = jax.devices() if devices is None else devices
  shape = _mesh_shape(config, len(devices))
  return jax.make_mesh(
      shape,
      AXES,
      axis_types=(AxisType.Auto,) * len(AXES),  # jax's default is Explicit
      devices=devices[: math.prod(shape)],
  )


def num_replicas(mesh: Mesh) -> int:
  """Returns how many parts a batch is divided into."""
  return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Sharding of arrays whose first axis is the batch."""
  return NamedSharding(mesh, P(BATCH_AXES))


def params_sharding(mesh: Mesh, params: Any) -> Any:
  """Returns the sharding of every leaf of `params`: a copy on each device.

  Args:
    mesh: what `make_mesh` returned.
    params: a flat dict of parameters, or any tree that holds such dicts, like
      a whole train state.

  Raises:
    ValueError: the mesh wants parameters to be sharded.
  """
  for axis in ('fsdp', 'tensor'):
    if mesh.shape[axis] > 1:
      raise ValueError(
          f'config.mesh.{axis} must be 1, got {mesh.shape[axis]}: parameters'
          ' are replicated over all devices, use config.mesh.data instead'
      )
  return jax.tree.map(lambda _: NamedSharding(mesh, P()), params)


def check_batch(batch_size: int, microbatch_per_device: int, mesh: Mesh) -> int:
  """Returns into how many microbatches a step divides its batch.

  A batch too small to give each device a full microbatch is taken at once.

  Raises:
    ValueError: the batch does not divide evenly.
  """
  if microbatch_per_device < 1:
    raise ValueError(
        f'config.microbatch_per_device must be positive, got'
        f' {microbatch_per_device}'
    )
  replicas = num_replicas(mesh)
  at_once = replicas * min(
      microbatch_per_device, max(batch_size // replicas, 1)
  )
  accumulation, rest = divmod(batch_size, at_once)
  if rest or not accumulation:
    nearest = [n * at_once for n in (accumulation, accumulation + 1) if n]
    raise ValueError(
        f'config.batch_size must be a multiple of {at_once} ({replicas} devices'
        f' x {at_once // replicas} sequences), got {batch_size}; nearest:'
        f' {" or ".join(map(str, nearest))}'
    )
  return accumulation


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
  """Puts a batch on the devices of `mesh`, divided over its first axis.

  Each process gives its own rows; with one process these are all of them.
  """
  sharding = batch_sharding(mesh)
  return {
      name: jax.make_array_from_process_local_data(sharding, array)
      for name, array in batch.items()
  }


def _mesh_shape(config, num_devices):
  data, fsdp, tensor = sizes = [config[axis] for axis in AXES]
  for axis, size in zip(AXES, sizes):
    if size < 1 and (axis, size) != ('data', -1):
      allowed = 'positive or -1' if axis == 'data' else 'positive'
      raise ValueError(f'config.mesh.{axis} must be {allowed}, got {size}')
  if data == -1:
    data, rest = divmod(num_devices, fsdp * tensor)
    if rest:
      raise ValueError(
          f'config.mesh.fsdp x config.mesh.tensor = {fsdp * tensor} must divide'
          f' the number of devices, {num_devices}'
      )
  if data * fsdp * tensor > num_devices:
    raise ValueError(
        f'config.mesh asks for {data} x {fsdp} x {tensor} ='
        f' {data * fsdp * tensor} devices, there are {num_devices}'
    )
  return data, fsdp, tensor
