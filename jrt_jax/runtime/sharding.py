"""The mesh of devices, and the shardings of batches and parameters."""

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
from jrt_jax.cost.layout import SEQUENCE_AXES
from jrt_jax.cost.weight import Weight


def make_mesh(
    config: Mapping[str, int], devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """Returns a mesh with the axes of `AXES`.

  Args:
    config: the `mesh` keys of `configs/base.py`; with data = -1 the mesh has
      all devices that the other axes leave, otherwise the first ones.
    devices: the devices to choose from; default: all.

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
  # Ids count up node by node. In their order, the last axes of the mesh stay
  # inside a node. `jax.make_mesh` refuses GPUs of several nodes.
  taken = np.array(devices[: math.prod(shape)]).reshape(shape)
  return Mesh(taken, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def serving_mesh(
    config: Mapping[str, int],
    devices: Sequence[jax.Device] | None = None,
    *,
    sequence: int = 1,
) -> Mesh | None:
  """Returns the mesh for generation and evaluation; None: one device.

  Devices divide heads as in training, if their number allows it, the positions
  of prompts among `sequence` of them, and the rows of a batch.

  Args:
    config: the `mesh` keys of `configs/base.py`.
    devices: the devices to use. None: all GPUs of this process, or `sequence`
      CPU devices, since several CPU devices are the same cores.
    sequence: the number of devices that share the positions of a prompt.

  Raises:
    ValueError: `sequence` is not positive, or does not divide the number of
      devices.
  """
  if sequence < 1:
    raise ValueError(f'mesh_sequence must be positive, got {sequence}')
  if devices is None:
    devices = jax.local_devices()
    if devices[0].platform == 'cpu':
      devices = devices[:sequence]
  count = len(devices)
  if count % sequence:
    raise ValueError(
        f'mesh_sequence must divide the number of devices, {count}, got'
        f' {sequence} (JAX_NUM_CPU_DEVICES={sequence} makes so many of a CPU)'
    )
  if count == 1:
    return None
  tensor = config['tensor']
  if count // sequence % tensor:
    tensor = 1
  return make_mesh(
      {'sequence': sequence, 'tensor': tensor, 'data': -1}, devices
  )


def batch_sharding(mesh: Mesh, num_axes: int = 1) -> NamedSharding:
  """Returns the sharding of arrays of a batch: [B], or [B, L, ...]."""
  return NamedSharding(mesh, P(*(BATCH_AXES, SEQUENCE_AXES)[:num_axes]))


def params_sharding(
    mesh: Mesh, tree: Any, weights: Mapping[str, Weight]
) -> Any:
  """Returns the sharding of every leaf of `tree`.

  Args:
    mesh: what `make_mesh` returned.
    tree: a flat dict of parameters, or a tree with such dicts, such as a train
      state. Leaves outside of such dicts are replicated.
    weights: the parameters, from `cost.weights`.
  """

  def of_leaf(path, _):
    names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
    known = weights.get(names[-1]) if names else None
    return NamedSharding(mesh, P(*known.axes) if known else P())

  return jax.tree_util.tree_map_with_path(of_leaf, tree)


def share_of_batch(mesh: Mesh) -> tuple[int, int]:
  """Returns (part, parts): the part of each batch that this process reads.

  Processes whose devices have the same rows (but other positions or heads) read
  the same part.

  Raises:
    ValueError: the rows of this process are not one part of the batch.
  """
  replicas = layout.num_replicas(mesh.shape)
  index = batch_sharding(mesh).addressable_devices_indices_map((replicas,))
  own = {i for rows, in index.values() for i in range(replicas)[rows]}
  part, rest = divmod(min(own), len(own))
  if rest or own != {*range(min(own), min(own) + len(own))}:
    raise ValueError(
        'config.mesh must give each process adjacent rows of a batch, got'
        f' {sorted(own)} of {replicas} for one process: config.mesh.fsdp x'
        ' config.mesh.sequence x config.mesh.tensor should divide the number of'
        ' devices of a process, or be a multiple of it'
    )
  return part, replicas // len(own)


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
  """Puts a batch on the devices of `mesh`, divided like `batch_sharding`.

  Each process passes the rows of its `share_of_batch`, with all positions.
  """
  part, parts = share_of_batch(mesh)
  return _put(batch, mesh, part, parts)


def put_whole_batch(
    batch: Mapping[str, np.ndarray], mesh: Mesh
) -> dict[str, Any]:
  """As `put_batch`, but every process passes all rows."""
  return _put(batch, mesh, 0, 1)


def _put(batch, mesh, part, parts):
  """Puts rows, one of equal parts of a batch, on the devices of this process."""

  def put(x):
    def of_device(index):
      rows, *others = index
      first, stop, _ = rows.indices(parts * len(x))
      before = part * len(x)
      return x[slice(first - before, stop - before), *others]

    return jax.make_array_from_callback(
        (parts * len(x), *x.shape[1:]), batch_sharding(mesh, x.ndim), of_device
    )

  return {name: put(x) for name, x in batch.items()}


def mesh_of_one() -> Mesh:
  """Returns a mesh with only the first device of this process."""
  return make_mesh(dict.fromkeys(AXES, 1), jax.local_devices()[:1])


def gathered(tree: Any) -> Any:
  """Returns arrays that each process can read as a whole.

  In a run of several processes, all must call this, and arrays are copied to
  the host.
  """
  if jax.process_count() == 1:
    return tree
  return multihost_utils.process_allgather(tree, tiled=True)
