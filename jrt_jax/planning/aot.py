"""Compiles the train step of a config for GPUs that this machine lacks."""

from collections.abc import Mapping
import sys
import time
from typing import Any

import jax

from jrt_jax import cost
from jrt_jax.compiled import collectives
from jrt_jax.compiled import hlo
from jrt_jax.compiled import traffic
from jrt_jax.compiled import train_step
from jrt_jax.cost import estimate
from jrt_jax.cost.topology import Topology
from jrt_jax.reporting import units
from jrt_jax.runtime import memory
from jrt_jax.runtime import sharding
from jrt_jax.training import abstract
from jrt_jax.training import loss
from pallas_kernels import virtual_gpus


def compile_step(
    config: Mapping[str, Any], topology: Topology
) -> jax.stages.Compiled:
  """Returns the compiled train step; prints its memory on stderr.

  Args:
    config: the config of the run, with the implementation that will be used.
    topology: GPUs that `virtual_gpus` supports.

  Raises:
    ValueError: the run is impossible on these GPUs.
    RuntimeError: jax has no plugin for CUDA.
  """
  devices = virtual_gpus.devices(
      topology.name, topology.gpus_per_node, machines=topology.nodes
  )
  _tell(f'compiling for {topology.num_gpus} x {topology.name} …')
  start = time.perf_counter()
  mesh = sharding.make_mesh(config['mesh'], devices)
  steps, params = abstract.steps(config, mesh)
  state = abstract.state(steps, params, mesh, cost.weights(config['model']))
  batch = abstract.batch(config, mesh)
  with jax.set_mesh(mesh):
    compiled = virtual_gpus.compile_for(
        topology.name, steps.jitted(state), state, batch
    )
  took = units.duration(time.perf_counter() - start)
  need = units.size(memory.needed(compiled))
  _tell(f'compiled in {took}: a step takes {need} on each GPU')
  return compiled


def describe(
    compiled: jax.stages.Compiled,
    config: Mapping[str, Any],
    topology: Topology,
    mesh: Mapping[str, int],
) -> dict[str, Any]:
  """Returns memory, kernels, exchanges and traffic of a compiled step, as JSON.

  Args:
    compiled: from `compile_step`, with the same config and topology.
    mesh: number of devices along each axis.
  """
  sizes = compiled.memory_analysis()
  program = hlo.parse(compiled.as_text())
  found = traffic.operations(program, unknown_trips=_blocks_of_loss(config))
  rates = train_step.RATES[topology.name]
  kinds = train_step.by_kind(program, found, rates)
  seconds = train_step.seconds(kinds)
  tokens = config['batch_size'] * config['sequence_length']
  flops = estimate.flops_per_token(config) * tokens
  return {
      'bytes': {
          'state': sizes.argument_size_in_bytes,
          'temporary': sizes.temp_size_in_bytes,
          'peak': memory.needed(compiled),
      },
      'kernels': train_step.kernels(found),
      'exchanges': collectives.exchanges(
          found, mesh=mesh, gpus_per_node=topology.gpus_per_node
      ),
      'traffic': {
          'rates': rates._asdict(),
          'kinds': kinds,
          'seconds': seconds,
          'tokens_per_second': tokens / seconds,
          'mfu': flops / seconds / topology.num_gpus / topology.gpu.flops,
          'most_moved': train_step.most_moved(program, found),
      },
  }


def _blocks_of_loss(config):
  """Iterations of the loop over labels, for the mean number of labels."""
  labels = estimate.supervised_fraction(config) * config['sequence_length']
  return max(-(-round(labels) // loss.BLOCK), 1)


def _tell(line):
  print(line, file=sys.stderr, flush=True)
