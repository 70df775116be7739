"""Memory, time and money that a run would take on given GPUs.

All of this is arithmetic without jax. The utilisation of the GPUs is predicted,
and the memory of activations is estimated.
"""

from collections.abc import Mapping
from typing import Any

from jrt_jax import cost
from jrt_jax.cost import estimate
from jrt_jax.cost import kernels
from jrt_jax.cost import layout
from jrt_jax.cost import training_memory
from jrt_jax.cost.topology import Topology
from jrt_jax.data import objectives
from jrt_jax.planning import microbatches
from jrt_jax.prefix import fitting
from jrt_jax.prefix import policies

# Upper bound of model FLOP/s over the peak, for JRT-RNN 360M with the Hopper
# kernels on 8 H100s, as this command calculates it from assumed rates:
#   python -m jrt_jax.plan --config=configs/jrt_360m.py --traffic
MFU_AT_MOST = 0.433
# The fraction of the bound that a run is assumed to reach, as GPUs also wait
# and exchange data. No GPU has confirmed either number.
ALLOWANCE = 0.9
PREDICTED_MFU = ALLOWANCE * MFU_AT_MOST

CONTEXTS = (2048, 8192, 32_768, 131_072)  # lengths for decode states


def make(
    config: Mapping[str, Any],
    topology: Topology,
    *,
    mfu: float | None = None,
    price: float | None = None,
) -> dict[str, Any]:
  """Returns the plan of a run, as JSON.

  Args:
    mfu: model FLOP/s over the peak; None: as predicted.
    price: dollars per GPU-hour, if known.

  Raises:
    ValueError: the run is impossible on these GPUs.
    OSError: the file of a prefix policy cannot be read.
  """
  model, mesh = config['model'], _mesh(config, topology)
  _check_implementation(model['implementation'], topology)
  accumulation = layout.check_batch(
      config['batch_size'], config['microbatch_per_device'], mesh
  )
  layout.check_model(model, cost.weights(model), mesh)
  layout.check_rows(config, mesh)
  one = dict.fromkeys(layout.AXES, 1)
  config = decided(config, topology)
  return {
      'gpus': topology._asdict() | {'gpu': topology.gpu._asdict()},
      'mesh': mesh,
      'dtype': model['dtype'],
      'implementation': _expected(config['model']),
      'implementation_is_open': model['implementation'] == 'auto',
      'batch': {
          'sequences': config['batch_size'],
          'tokens': config['sequence_length'],
          'microbatches': accumulation,
      },
      'parameters': cost.parameters(model),
      'flops_per_token': estimate.flops_by_part(config),
      'bytes': training_memory.state_bytes(config, one, accumulation),
      'bytes_per_gpu': training_memory.state_bytes(config, mesh, accumulation),
      'working_bytes_per_gpu': microbatches.working_bytes(config, mesh),
      'peak_bytes_per_gpu': microbatches.peak_bytes(config, mesh),
      'microbatches': microbatches.largest(
          config, mesh, topology.gpu.memory_gib * 2**30
      ),
      'decode_state_bytes': _decode_states(model),
      'run': run(config, topology, mfu=mfu, price=price),
  }


def run(
    config: Mapping[str, Any],
    topology: Topology,
    *,
    mfu: float | None,
    price: float | None,
    mfu_at_most: float = MFU_AT_MOST,
) -> dict[str, Any]:
  """Returns the part `run` of `make`: time and cost.

  Args:
    mfu: model FLOP/s over the peak; None: `ALLOWANCE` of `mfu_at_most`.
    price: dollars per GPU-hour, if known.
    mfu_at_most: the upper bound for the compiled step.
  """
  predicted, mfu = mfu is None, ALLOWANCE * mfu_at_most if mfu is None else mfu
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


def decided(config: Mapping[str, Any], topology: Topology) -> dict[str, Any]:
  """Returns the config with the choices that a run makes before it starts.

  These are the implementation of linear attention and the learned prefix
  policy.

  Raises:
    ValueError: objective and prefix do not fit together, or the file is broken.
    OSError: the file of a prefix policy cannot be read.
  """
  model, prefix = {**config['model']}, config['prefix']
  model['implementation'] = _implementation(model, topology)
  objectives.check(config['objective'], prefix, config['sequence_length'])
  fit = policies.PREFIX_POLICIES[prefix['name']].fit
  if fit and not fit.calibrate:
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
        f' {topology.name}, which is not a Hopper GPU, got {name!r}'
    )


def _implementation(model, topology):
  """The implementation that a run uses if the kernels pass their check."""
  name = model['implementation']
  if name not in ('auto', kernels.KERNELS_OR_CHUNKED):
    return name
  can_run = _is_hopper(topology) and kernels.value_width(model)
  return kernels.KERNELS_OR_CHUNKED if can_run else 'chunked'


def _expected(model):
  """The implementation of linear attention; None if the model has none."""
  if not kernels.has_linear_attention(model):
    return None
  name = model['implementation']
  return 'mosaic_sm90' if name == kernels.KERNELS_OR_CHUNKED else name


def _is_hopper(topology):
  return topology.gpu.architecture == 'Hopper'


def _decode_states(model):
  """Bytes of a sequence by its length; also with attention in every layer."""
  attention = {**model, 'mixers': ['attention'] * len(model['mixers'])}
  return {
      name: {L: cost.state_bytes(x, length=L) for L in CONTEXTS}
      for name, x in (('model', model), ('attention', attention))
  }
