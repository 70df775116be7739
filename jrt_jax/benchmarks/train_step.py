"""Measures a training step: forward, backward and optimizer, without data."""

from collections.abc import Mapping
import math
from typing import Any

import jax
import numpy as np

from jrt_jax import cost
from jrt_jax import models
from jrt_jax.benchmarks import timing
from jrt_jax.cost import estimate
from jrt_jax.data import examples
from jrt_jax.data import pipeline
from jrt_jax.data import streams
from jrt_jax.reporting import throughput
from jrt_jax.runtime import memory
from jrt_jax.runtime import sharding
from jrt_jax.training import abstract
from jrt_jax.training import train_state

_CALLS = 2  # steps in a sample


def measure(config: Mapping[str, Any]) -> dict[str, Any]:
  """Trains on one batch of random tokens, as `jrt_jax.train` would.

  Args:
    config: the config of a run; its `config.mesh` chooses the devices.

  Returns:
    Milliseconds of a step, tokens a second, MFU (None if the peak of the device
    is not known), the loss after the last step, bytes of the compiled step on a
    device, and the microbatches of the batch. On a CPU also the processor time
    of a step, over all threads, in the fastest sample.

  Raises:
    FloatingPointError: the losses are not finite.
  """
  mesh = sharding.make_mesh(config['mesh'])
  with jax.set_mesh(mesh):
    state, steps = _start(config, mesh)
    batch = sharding.put_batch(_batch(config), mesh)
    program = steps.jitted(state).lower(state, batch).compile()
    timed = timing.time_calls(
        lambda carry: program(carry[0], batch), (state, None), calls=_CALLS
    )
  loss = float(timed.state[1]['loss'])
  if not math.isfinite(loss):
    raise FloatingPointError(f'the loss is {loss}')
  tokens = config['batch_size'] * config['sequence_length']
  rates = timing.figures(timed.seconds, tokens=tokens)
  if jax.default_backend() == 'cpu':  # which other processes may share
    rates['processor_ms'] = 1e3 * min(timed.processor_seconds)
  return rates | {
      'mfu': throughput.mfu(
          estimate.flops_per_token(config),
          rates['tokens_per_second'],
          list(mesh.devices.flat),
      ),
      'loss': loss,
      'compiled_bytes': memory.needed(program),
      'accumulation': steps.accumulation,
      'remat': config['model']['remat'],
      'devices': mesh.size,
  }


def _start(config, mesh):
  """The first state, and the steps."""
  steps, _ = abstract.steps(config, mesh)

  def first():
    params = models.split(models.build(config['model'], config['seed']))[1]
    return train_state.init(params, steps.optimizer)

  shardings = sharding.params_sharding(
      mesh, jax.eval_shape(first), cost.weights(config['model'])
  )
  return jax.jit(first, out_shardings=shardings)(), steps


def _batch(config):
  """A batch of random tokens, with the prefixes and labels of the objective."""
  B, L = config['batch_size'], config['sequence_length']
  ids = np.random.default_rng(0).integers(
      config['model']['mask_id'], size=B * L + 1
  )
  recipe = examples.Recipe(
      sequence_length=L,
      objective=config['objective'],
      prefix=config['prefix'],
      num_ids=config['model']['mask_id'],
      mask_id=config['model']['mask_id'],
  )
  batches = pipeline.batches(
      streams.in_memory(ids.astype(np.int32)),
      recipe,
      batch_size=B,
      seed=config['seed'],
      training=True,
      num_threads=0,
  )
  batch = next(batches)
  batches.close()
  return batch
