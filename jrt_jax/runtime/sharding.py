"""Where everything lives: the mesh, and shardings of batches and parameters."""

from collections.abc import Mapping, Sequence
import math
from typing import Any

import jax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
import numpy as np

from jrt_jax.cost import layout
from jrt_jax.cost.layout import AXES
from jrt_jax.cost.layout import BATCH_AXES
from jrt_jax.cost.weight import Weight


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
  shape = (*layout.mesh_shape(config, len(devices)).values(),)
  if jax.process_count() > 1 and math.prod(shape) < len(devices):
    raise ValueError(
        f'config.mesh must use all {len(devices)} devices of'
        f' {jax.process_count()} processes, got'
        f' {" x ".join(map(str, shape))} = {math.prod(shape)}: leave'
        ' config.mesh.data at -1'
    )
  # In the order of their ids, which count up node by node: the last axes stay
  # inside a node. `jax.make_mesh` refuses GPUs of several nodes.
  taken = np.array(devices[: math.prod(shape)]).reshape(shape)
  return Mesh(taken, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def serving_mesh(
    config: Mapping[str, int], devices: Sequence[jax.Device] | None = None
) -> Mesh | None:
  """Returns the mesh on which text is read and written; None: one device.

  Devices share heads as in training, if their number allows it, and the rows of
  a batch: each has all weights but those of others' heads.

  Args:
    config: the `mesh` keys of `configs/base.py`.
    devices: the devices to use. None: all GPUs of this process, but one CPU, for
      several of them are the same cores.
  """
  if devices is None:
    devices = jax.local_devices()
    if devices[0].platform == 'cpu':
      devices = devices[:1]
  if len(devices) == 1:
    return None
  tensor = config['tensor']
  if len(devices) % tensor:
    tensor = 1
  shape = {'data': len(devices) // tensor, 'fsdp': 1, 'tensor': tensor}
  return make_mesh(shape, devices)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Sharding of arrays whose first axis is the batch."""
  return NamedSharding(mesh, P(BATCH_AXES))


def params_sharding(
    mesh: Mesh, tree: Any, weights: Mapping[str, Weight]
) -> Any:
  """Returns the sharding of every leaf of `tree`.

  Args:
    mesh: what `make_mesh` returned.
    tree: a flat dict of parameters, or any tree that holds such dicts, like a
      whole train state; what is in none of them is whole on every device.
    weights: the parameters, from `cost.weights`.
  """

  def of_leaf(path, _):
    names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
    known = weights.get(names[-1]) if names else None
    return NamedSharding(mesh, P(*known.axes) if known else P())

  return jax.tree_util.tree_map_with_path(of_leaf, tree)


def share_of_batch(mesh: Mesh) -> tuple[int, int]:
  """Returns (part, parts): which part of each batch this process must read.

  Processes whose devices share heads, but no rows, read the same part.

  Raises:
    ValueError: the devices of this process do not hold one part of the rows.
  """
  replicas = layout.num_replicas(mesh.shape)
  index = batch_sharding(mesh).addressable_devices_indices_map((replicas,))
  own = {i for rows, in index.values() for i in range(replicas)[rows]}
  part, rest = divmod(min(own), len(own))
  if rest or own != {*range(min(own), min(own) + len(own))}:
    raise ValueError(
        'config.mesh must give each process neighbouring rows of a batch, got'
        f' {sorted(own)} of {replicas} for one: let config.mesh.fsdp x'
        ' config.mesh.tensor divide the devices of a process, or be their'
        ' multiple'
    )
  return part, replicas // len(own)


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
  """Puts a batch on the devices of `mesh`, divided over its first axis.

  Each process gives the rows of its `share_of_batch`.
  """
  sharding, (_, parts) = batch_sharding(mesh), share_of_batch(mesh)
  return {
      name: jax.make_array_from_process_local_data(
          sharding, x, (parts * len(x), *x.shape[1:])
      )
      for name, x in batch.items()
  }


def put_whole_batch(
    batch: Mapping[str, np.ndarray], mesh: Mesh
) -> dict[str, Any]:
  """`put_batch` of all rows, by processes that all have all of them."""
  sharding = batch_sharding(mesh)
  return {
      name: jax.make_array_from_callback(x.shape, sharding, x.__getitem__)
      for name, x in batch.items()
  }


def mesh_of_one() -> Mesh:
  """Returns a mesh of the first device of this process."""
  return make_mesh(dict.fromkeys(AXES, 1), jax.local_devices()[:1])


def gathered(tree: Any) -> Any:
  """Returns arrays that each process can read as a whole.

  In a run of several processes they are copied to the host; all must call it.
  """
  if jax.process_count() == 1:
    return tree
  return multihost_utils.process_allgather(tree, tiled=True)
