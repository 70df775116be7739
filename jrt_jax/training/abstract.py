"""The train step of a config and the shapes of its inputs, without arrays."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jrt_jax import cost
from jrt_jax import models
from jrt_jax.cost import layout
from jrt_jax.cost.weight import Weight
from jrt_jax.data import packings
from jrt_jax.runtime import sharding
from jrt_jax.training import optimizer
from jrt_jax.training import train_state


def steps(
    config: Mapping[str, Any], mesh: Mesh
) -> tuple[train_state.Steps, train_state.Params]:
  """Returns the steps of a run, and the shapes of its parameters.

  Raises:
    ValueError: no model can have this config, or the batch cannot be divided
      into microbatches on this mesh.
  """
  merge, params = models.abstract(config['model'])
  return (
      train_state.Steps(
          merge,
          optimizer.build(
              config['optimizer'],
              config['steps'],
              cost.weights(config['model']),
          ),
          packings.prefix_capacity(config),
          config['objective']['mlm_weight'],
          layout.check_batch(
              config['batch_size'], config['microbatch_per_device'], mesh.shape
          ),
          config['objective']['z_loss'],
      ),
      params,
  )


def state(
    steps: train_state.Steps,
    params: train_state.Params,
    mesh: Mesh,
    weights: Mapping[str, Weight],
) -> train_state.TrainState:
  """Returns shapes, dtypes and shardings of the state before the first step.

  Args:
    steps, params: from `steps`.
    weights: the parameters, from `cost.weights`.
  """
  first = jax.eval_shape(
      lambda params: train_state.init(params, steps.optimizer), params
  )
  return jax.tree.map(
      _sharded, first, sharding.params_sharding(mesh, first, weights)
  )


def batch(
    config: Mapping[str, Any], mesh: Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns shapes, dtypes and shardings of a batch, without reading data."""
  B, L = config['batch_size'], config['sequence_length']
  tokens = jax.ShapeDtypeStruct((B, L), jnp.int32)
  arrays = {
      'tokens': tokens,
      'targets': tokens,
      'supervision': jax.ShapeDtypeStruct((B, L), jnp.int8),
      'prefix_len': jax.ShapeDtypeStruct((B,), jnp.int32),
  }
  if most := config['data']['documents_in_prefix']:
    arrays['prefix_len'] = jax.ShapeDtypeStruct((B, most), jnp.int32)
  packing = packings.PACKINGS[config['data']['packing']]
  if packing.separates:
    arrays['segment_ids'] = tokens
  if packing.prefix_of_each:
    del arrays['prefix_len']
    arrays['prefix_mask'] = jax.ShapeDtypeStruct((B, L), jnp.bool_)
  return {
      name: _sharded(x, sharding.batch_sharding(mesh, x.ndim))
      for name, x in arrays.items()
  }


def _sharded(shape, sharding):
  return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)
