"""How parameters and batches are divided over the devices of a mesh.

A mesh is the number of devices along each of its axes, {'data': 8, …}, as
`jax.sharding.Mesh.shape` has it.
"""

from collections.abc import Mapping
import math
from typing import Any

from jrt_jax.cost import feature_maps

BATCH_AXES = ('data', 'fsdp')  # share the rows of a batch
HEAD_AXES = ('tensor',)  # share the heads of a mixer
AXES = (*BATCH_AXES, *HEAD_AXES)

# Along which axis of the mesh each axis of a parameter is divided, by the end
# of its name; others are whole on every device, but for those of groups of
# heads, whose first axis is the heads.
# `tensor` shares the vocabulary, heads and inner channels: the columns of what
# leads into a mixer or MLP and the rows of what leads out of it, so that what
# is between them never moves (but between groups of `hybrid_heads`). `fsdp`
# shares the other side, which is gathered where it is used.
_IN, _OUT = ('fsdp', 'tensor'), ('tensor', 'fsdp')
_IN_STACKED = ('fsdp', None, 'tensor')
PARAMS = {
    'embedding.embedding': _OUT,
    'embedding.rounded': _OUT,
    'mixer.in_proj.kernel': _IN_STACKED,
    'mixer.in_proj.bias': (None, 'tensor'),
    'mixer.conv.kernel': (None, 'tensor'),
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
# Likewise each axis of a decode state, by its mixer, and of all else that is kept
# of rows while text is written; shorter ones have the first of these axes.
_CACHE = (BATCH_AXES, None, HEAD_AXES)
STATES = {
    'conv': _CACHE,
    'pla': (BATCH_AXES, HEAD_AXES),
    'la': (BATCH_AXES, HEAD_AXES),
    'swa': _CACHE,
    'attention': _CACHE,
}
ROWS = (BATCH_AXES,)


def mesh_shape(config: Mapping[str, int], num_devices: int) -> dict[str, int]:
  """Returns a mesh with the axes of `AXES`.

  Args:
    config: the `mesh` keys of `configs/base.py`; data = -1 takes every device
      that the other axes leave.
    num_devices: that there are.

  Raises:
    ValueError: a size is impossible, or there are too few devices.
  """
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
  return dict(zip(AXES, (data, fsdp, tensor)))


def size(mesh: Mapping[str, int]) -> int:
  """Returns how many devices a mesh has."""
  return math.prod(mesh.values())


def num_replicas(mesh: Mapping[str, int]) -> int:
  """Returns how many parts a batch is divided into."""
  return math.prod(mesh[axis] for axis in BATCH_AXES)


def param_axes(name: str) -> tuple[str | None, ...]:
  """Returns the axes of the mesh that divide those of the parameter `name`."""
  if '.mixer.groups.' in name:
    return HEAD_AXES
  return next((axes for end, axes in PARAMS.items() if name.endswith(end)), ())


def num_own(
    shapes: Mapping[str, tuple[int, ...]], mesh: Mapping[str, int]
) -> int:
  """Returns how many of the parameters with these shapes each device has."""
  return sum(
      math.prod(shape) // math.prod(mesh[x] for x in param_axes(name) if x)
      for name, shape in shapes.items()
  )


def check_model(
    model: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    mesh: Mapping[str, int],
) -> None:
  """Checks that a model can be divided over `mesh`.

  Args:
    model: `config.model`.
    shapes: of its parameters.
    mesh: devices along each axis.

  Raises:
    ValueError: an axis does not divide the heads or a parameter.
  """
  heads, tensor = model['num_heads'], mesh['tensor']
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
  for name, shape in shapes.items():
    for length, axis in zip(shape, param_axes(name)):
      if axis and length % mesh[axis]:
        raise ValueError(
            f'config.mesh.{axis} must divide the {length} that it would share of'
            f' {name} {[*shape]}, got {mesh[axis]}'
        )


def check_batch(
    batch_size: int, microbatch_per_device: int, mesh: Mapping[str, int]
) -> int:
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
