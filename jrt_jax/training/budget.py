"""What a run would take on GPUs that are not there: memory, time and money.

All of it is arithmetic, and nothing here imports jax. How well a run will use
its GPUs is a prediction, what activations take an estimate.
"""

from collections.abc import Mapping
from typing import Any

from jrt_jax import cost
from jrt_jax.cost import kernels
from jrt_jax.cost import layout
from jrt_jax.cost import training_memory
from jrt_jax.data import objectives
from jrt_jax.prefix import fitting
from jrt_jax.training import estimate
from jrt_jax.training import microbatches
from jrt_jax.training.topology import Topology

# Model FLOP/s over the peak. A prediction, which no GPU has confirmed: what
# `jrt_jax.plan --traffic` says of JRT-RNN 360M with the Hopper kernels, but for an
# H100 that does 600 TFLOP/s and moves 2.7 TB/s (assumed; it assumes more there).
# Communication and waiting are left out. Of `chunked` nothing is predicted.
PREDICTED_MFU = 0.34

CONTEXTS = (2048, 8192, 32_768, 131_072)  # tokens that are decoded after


def make(
    config: Mapping[str, Any],
    topology: Topology,
    *,
    mfu: float | None = None,
    price: float | None = None,
) -> dict[str, Any]:
  """Returns the plan of a run, as JSON has it.

  Args:
    config: of the run.
    topology: the GPUs.
    mfu: model FLOP/s over the peak; None: as predicted.
    price: of a GPU for an hour, in dollars, if known.

  Raises:
    ValueError: the run is impossible on these GPUs.
    OSError: the file of a prefix policy cannot be read.
  """
  model, mesh = config['model'], _mesh(config, topology)
  _check_implementation(model['implementation'], topology)
  accumulation = layout.check_batch(
      config['batch_size'], config['microbatch_per_device'], mesh
  )
  layout.check_model(model, cost.shapes(model), mesh)
  one = dict.fromkeys(layout.AXES, 1)
  config = decided(config, topology)
  return {
      'gpus': topology._asdict() | {'gpu': topology.gpu._asdict()},
      'mesh': mesh,
      'dtype': model['dtype'],
      'implementation': _implementation(config, topology),
      'implementation_is_open': model['implementation'] == 'auto',
      'batch': {
          'sequences': config['batch_size'],
          'tokens': config['sequence_length'],
          'microbatches': accumulation,
      },
      'parameters': cost.parameters(model),
      'flops_per_token': estimate.flops_by_part(config),
      'bytes': training_memory.state_bytes(model, one, accumulation),
      'bytes_per_gpu': training_memory.state_bytes(model, mesh, accumulation),
      'working_bytes_per_gpu': microbatches.working_bytes(config, mesh),
      'peak_bytes_per_gpu': microbatches.peak_bytes(config, mesh),
      'microbatches': microbatches.largest(
          config, mesh, topology.gpu.memory_gib * 2**30
      ),
      'decode_state_bytes': _decode_states(model),
      'run': _run(config, topology, mfu, price),
  }


def decided(config: Mapping[str, Any], topology: Topology) -> dict[str, Any]:
  """Returns a config with what a run decides of it before it starts.

  That is what computes linear attention, and what a prefix policy has to know.

  Raises:
    ValueError: objective and prefix do not fit together, or the file is broken.
    OSError: the file of a prefix policy cannot be read.
  """
  model, prefix = {**config['model']}, config['prefix']
  model['implementation'] = (
      _implementation(config, topology) or model['implementation']
  )
  objectives.check(config['objective'], prefix, config['sequence_length'])
  if prefix['name'] == 'learned':
    prefix = {**prefix, 'fitted': fitting.read(prefix['file'])}
    fitting.check('config.prefix', prefix)
  return {**config, 'model': model, 'prefix': prefix}


def _mesh(config, topology):
  mesh = layout.mesh_shape(config['mesh'], topology.num_gpus)
  if (used := layout.size(mesh)) < topology.num_gpus:
    raise ValueError(
        f'config.mesh must use all {topology.num_gpus} GPUs of --topology, got'
        f' {used}: leave config.mesh.data at -1'
    )
  return mesh


def _check_implementation(name, topology):
  if name.startswith('mosaic_sm90') and not _is_hopper(topology):
    raise ValueError(
        'config.model.implementation must be auto, chunked or reference on'
        f' {topology.name}, which is no Hopper GPU, got {name!r}'
    )


def _implementation(config, topology):
  """Of linear attention; None if the model has none.

  The kernels are expected to be found right where they can run.
  """
  model = config['model']
  if not kernels.has_linear_attention(model):
    return None
  name = model['implementation']
  if name not in ('auto', kernels.KERNELS_OR_CHUNKED):
    return name
  in_documents = config['data']['packing'] == 'documents'
  if _is_hopper(topology) and kernels.value_width(model) and not in_documents:
    return 'mosaic_sm90'
  return 'chunked'


def _is_hopper(topology):
  return topology.gpu.architecture == 'Hopper'


def _decode_states(model):
  """Of a sequence, by its tokens; and if attention were in every layer."""
  attention = {**model, 'mixers': ['attention'] * len(model['mixers'])}
  return {
      name: {L: cost.state_bytes(x, length=L) for L in CONTEXTS}
      for name, x in (('model', model), ('attention', attention))
  }


def _run(config, topology, mfu, price):
  predicted, mfu = mfu is None, PREDICTED_MFU if mfu is None else mfu
  peak = topology.num_gpus * topology.gpu.flops
  rate = mfu * peak / estimate.flops_per_token(config)
  tokens = estimate.tokens(config)
  gpu_hours = topology.num_gpus * tokens / rate / 3600
  return {
      'mfu': mfu,
      'mfu_is_predicted': predicted,
      'tokens': tokens,
      'tokens_per_second': rate,
      'seconds': tokens / rate,
      'gpu_hours': gpu_hours,
      'dollars': None if price is None else gpu_hours * price,
  }
