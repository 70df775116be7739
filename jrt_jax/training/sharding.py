"""Where everything lives: the mesh, and shardings of batches and parameters."""

from collections.abc import Mapping, Sequence
import math
from typing import Any

import jax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
import numpy as np

from jrt_jax.models import feature_maps
from jrt_jax.models.parallel import BATCH_AXES
from jrt_jax.models.parallel import HEAD_AXES

AXES = (*BATCH_AXES, *HEAD_AXES)

# How parameters lie on the mesh, by the end of their names; others are whole on
# every device, but for those of groups of heads, whose first axis is the heads.
# `tensor` shares the vocabulary, heads and inner channels: the columns of what
# leads into a mixer or MLP and the rows of what leads out of it, so that what
# is between them never moves (but between groups of `hybrid_heads`). `fsdp`
# shares the other side, which is gathered where it is used.
_IN, _OUT = P('fsdp', 'tensor'), P('tensor', 'fsdp')
_IN_STACKED = P('fsdp', None, 'tensor')
PARAMS = {
    'embedding.embedding': _OUT,
    'mixer.in_proj.kernel': _IN_STACKED,
    'mixer.in_proj.bias': P(None, 'tensor'),
    'mixer.conv.kernel': P(None, 'tensor'),
    'mixer.qkv.kernel': _IN_STACKED,
    'mixer.proj_q.kernel': _IN,
    'mixer.proj_k.kernel': _IN,
    'mixer.proj_v.kernel': _IN,
    'mixer.proj_k_enc.kernel': _IN,
    'mixer.proj_v_enc.kernel': _IN,
    'mixer.out_proj.kernel': _OUT,
    'mlp.fc1.kernel': _IN_STACKED,
    'mlp.fc2.kernel': _OUT,
}


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
  # In the order of their ids, which count up node by node: the last axes stay
  # inside a node. `jax.make_mesh` refuses GPUs of several nodes.
  taken = np.array(devices[: math.prod(shape)]).reshape(shape)
  return Mesh(taken, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def num_replicas(mesh: Mesh) -> int:
  """Returns how many parts a batch is divided into."""
  return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Sharding of arrays whose first axis is the batch."""
  return NamedSharding(mesh, P(BATCH_AXES))


def param_spec(name: str) -> P:
  """Returns how the parameter `name` lies on a mesh with the axes of `AXES`."""
  if '.mixer.groups.' in name:
    return P('tensor')
  return next((spec for end, spec in PARAMS.items() if name.endswith(end)), P())


def params_sharding(mesh: Mesh, tree: Any) -> Any:
  """Returns the sharding of every leaf of `tree`.

  Args:
    mesh: what `make_mesh` returned.
    tree: a flat dict of parameters, or any tree that holds such dicts, like a
      whole train state; what is in none of them is whole on every device.
  """

  def of_leaf(path, _):
    names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
    return NamedSharding(mesh, param_spec(names[-1]) if names else P())

  return jax.tree_util.tree_map_with_path(of_leaf, tree)


def check_model(
    model: Mapping[str, Any], params: Mapping[str, Any], mesh: Mesh
) -> None:
  """Checks that a model can be divided over `mesh`.

  Args:
    model: `config.model`.
    params: its parameters, or their shapes.
    mesh: what `make_mesh` returned.

  Raises:
    ValueError: an axis does not divide the heads or a parameter.
  """
  heads, tensor = model['num_heads'], mesh.shape['tensor']
  if heads % tensor:
    raise ValueError(
        f'config.mesh.tensor must divide config.model.num_heads={heads}, got'
        f' {tensor}'
    )
  settings = model['feature_map']
  if settings['name'] == feature_maps.HYBRID:
    groups = feature_maps.group_sizes(
        heads, settings['parts'], settings.get('heads', ())
    )
    if any(count % tensor for count in groups):
      raise ValueError(
          'config.mesh.tensor must divide each of'
          f' config.model.feature_map.heads={tuple(groups)}, got {tensor}'
      )
  for name, param in params.items():
    for size, axis in zip(param.shape, param_spec(name)):
      if axis and size % mesh.shape[axis]:
        raise ValueError(
            f'config.mesh.{axis} must divide the {size} that it would share of'
            f' {name} {[*param.shape]}, got {mesh.shape[axis]}'
        )


def check_batch(batch_size: int, microbatch_per_device: int, mesh: Mesh) -> int:
  """Returns into how many microbatches a step divides its batch.

  A batch too small to give each device a full microbatch is taken at once.

  Raises:
    ValueError: the batch does not divide evenly.
  """
  replicas = num_replicas(mesh)
  at_once = replicas * min(
      microbatch_per_device, max(batch_size // replicas, 1)
  )
  accumulation, rest = divmod(batch_size, at_once)
  if rest or not accumulation:
    nearest = [n * at_once for n in (accumulation, accumulation + 1) if n]
    raise ValueError(
        f'config.batch_size must be a multiple of {at_once} ({replicas} parts'
        f' x {at_once // replicas} sequences), got {batch_size}; nearest:'
        f' {" or ".join(map(str, nearest))}'
    )
  return accumulation


def share_of_batch(mesh: Mesh) -> tuple[int, int]:
  """Returns (part, parts): which part of each batch this process must read.

  Processes whose devices share heads, but no rows, read the same part.

  Raises:
    ValueError: the devices of this process do not hold one part of the rows.
  """
  replicas = num_replicas(mesh)
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


def _mesh_shape(config, num_devices):
  data, fsdp, tensor = (config[axis] for axis in AXES)
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
  if jax.process_count() > 1 and data * fsdp * tensor < num_devices:
    raise ValueError(
        f'config.mesh must use all {num_devices} devices of'
        f' {jax.process_count()} processes, got {data} x {fsdp} x {tensor} ='
        f' {data * fsdp * tensor}: leave config.mesh.data at -1'
    )
  return data, fsdp, tensor
