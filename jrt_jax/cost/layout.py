"""How parameters and batches are divided over the devices of a mesh.

A mesh is the number of devices along each of its axes, {'data': 8, …}, as
`jax.sharding.Mesh.shape` has it.
"""

from collections.abc import Mapping
import math
from typing import Any

from jrt_jax.cost import feature_maps
from jrt_jax.cost import mixers
from jrt_jax.cost.weight import AXES as AXES
from jrt_jax.cost.weight import BATCH_AXES as BATCH_AXES
from jrt_jax.cost.weight import HEAD_AXES as HEAD_AXES
from jrt_jax.cost.weight import SEQUENCE_AXES as SEQUENCE_AXES
from jrt_jax.cost.weight import Weight

# How per-row arrays of decoding are divided, apart from the states of mixers.
ROWS = (BATCH_AXES,)


def mesh_shape(config: Mapping[str, int], num_devices: int) -> dict[str, int]:
  """Returns a mesh with the axes of `AXES`.

  Args:
    config: the `mesh` keys of `configs/base.py`, of which those that are
      missing are 1; data = -1 stands for all devices that the other axes leave.

  Raises:
    ValueError: a size is impossible, or there are too few devices.
  """
  mesh = {axis: config.get(axis, 1) for axis in AXES}
  if mesh['data'] == -1:
    others = size(mesh | {'data': 1})
    mesh['data'], rest = divmod(num_devices, others)
    if rest:
      names = ' x '.join(f'config.mesh.{axis}' for axis in AXES[1:])
      raise ValueError(
          f'{names} = {others} must divide the number of devices, {num_devices}'
      )
  if size(mesh) > num_devices:
    raise ValueError(
        f'config.mesh must have at most {num_devices} devices, got'
        f' {" x ".join(map(str, mesh.values()))} = {size(mesh)}'
    )
  return mesh


def size(mesh: Mapping[str, int]) -> int:
  """Returns the number of devices of a mesh."""
  return math.prod(mesh.values())


def num_replicas(mesh: Mapping[str, int]) -> int:
  """Returns the number of parts that a batch is divided into."""
  return math.prod(mesh[axis] for axis in BATCH_AXES)


def num_own(weights: Mapping[str, Weight], mesh: Mapping[str, int]) -> int:
  """Returns the number of parameters of `weights` that each device has."""
  return sum(
      math.prod(x.shape) // math.prod(mesh[axis] for axis in x.axes if axis)
      for x in weights.values()
  )


def check_model(
    model: Mapping[str, Any],
    weights: Mapping[str, Weight],
    mesh: Mapping[str, int],
) -> None:
  """Checks that a model can be divided over `mesh`.

  Args:
    model: `config.model`.
    weights: its parameters, from `cost.weights`.
    mesh: number of devices along each axis.

  Raises:
    ValueError: the size of an axis does not divide the heads or a parameter.
  """
  heads, tensor = model['num_heads'], mesh['tensor']
  layers = [mixers.MIXERS[name] for name in {*model['mixers']}]
  if heads % tensor and any(layer.model_heads for layer in layers):
    raise ValueError(
        f'config.mesh.tensor must divide config.model.num_heads={heads}, got'
        f' {tensor}'
    )
  settings = model['feature_map']
  maps_heads = any(layer.linear_attention for layer in layers)
  if maps_heads and settings['name'] == feature_maps.HYBRID:
    groups = feature_maps.group_sizes(
        heads, settings['parts'], settings.get('heads', ())
    )
    if any(count % tensor for count in groups):
      raise ValueError(
          'config.mesh.tensor must divide each of'
          f' config.model.feature_map.heads={tuple(groups)}, got {tensor}'
      )
  for name, weight in weights.items():
    for length, axis in zip(weight.shape, weight.axes):
      if axis and length % mesh[axis]:
        raise ValueError(
            f'config.mesh.{axis} must divide {length}, an axis of {name}'
            f' {[*weight.shape]}, got {mesh[axis]}'
        )


def check_rows(config: Mapping[str, Any], mesh: Mapping[str, int]) -> None:
  """Checks that the devices of `mesh` can divide the positions of rows.

  Args:
    config: the config of a run.
    mesh: number of devices along each axis.

  Raises:
    ValueError: their number does not divide the length of a row, or a layer or
      the packing needs whole rows.
  """
  model, length = config['model'], config['sequence_length']
  parts, used = mesh['sequence'], {*model['mixers']}
  where = f'with config.mesh.sequence={parts}'
  if parts == 1:
    return
  if length % parts:
    raise ValueError(
        f'config.mesh.sequence must divide config.sequence_length={length}, got'
        f' {parts}'
    )
  if 'swa' in used:
    if model['sinks']:
      raise ValueError(
          f'config.model.sinks must be 0 {where}, got {model["sinks"]}'
      )
    if model['window'] > (most := length // parts + 1):
      raise ValueError(
          f'config.model.window must be at most {most} {where}, so that a window'
          f' reaches no further than the device before, got {model["window"]}'
      )
  readers = mixers.reading_prefix(model)
  packing = config['data']['packing']
  if most := config['data']['documents_in_prefix']:
    raise ValueError(
        f'config.data.documents_in_prefix must be 0 {where}, got {most}'
    )
  if readers and packing == 'prefixed_documents':
    raise ValueError(
        f'config.data.packing must not be {packing!r} {where} and'
        f' {", ".join(readers)} in config.model.mixers: a row has one prefix'
    )


def check_prompts(model: Mapping[str, Any], part: int) -> None:
  """Checks that devices can divide the positions of prompts in generation.

  Args:
    model: `config.model`.
    part: the positions of a prompt that a device reads at once.

  Raises:
    ValueError: a layer needs whole rows, or reaches further than the device
      before.
  """
  reach = mixers.reach(model)
  if math.isinf(reach):
    raise ValueError(
        'mesh_sequence must be 1 for a model with config.model.sinks='
        f'{model["sinks"]}, whose windows need whole rows'
    )
  if reach > part:
    raise ValueError(
        f'mesh_sequence must be 1 for a model whose layers see {reach} positions'
        f' before their own, more than the {part} that a device reads at once'
    )


def check_batch(
    batch_size: int, microbatch_per_device: int, mesh: Mapping[str, int]
) -> int:
  """Returns the number of microbatches of a batch.

  It is 1 if the batch is too small to give each device a full microbatch.

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
