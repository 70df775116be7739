"""Estimates how large a microbatch fits on a GPU, without jax."""

from collections.abc import Mapping
from typing import Any

from jrt_jax.cost import layout
from jrt_jax.cost import training_memory
from jrt_jax.data import packings

# The fractions of a GPU's memory that JAX uses, by how it is started.
SHARES = {'by default': 0.75, 'with launch on a cluster': 0.9}
SHARE = SHARES['by default']


def working_bytes(
    config: Mapping[str, Any], mesh: Mapping[str, int]
) -> dict[str, int]:
  """Returns the memory of a microbatch on a GPU, without the state of the run.

  Args:
    mesh: number of devices along each axis.
  """
  length = config['sequence_length']
  room = packings.prefix_capacity(config)
  if room and mesh['sequence'] > 1:  # see `models.context.of_rows`
    room = length
  return training_memory.working_bytes(
      config['model'],
      mesh=mesh,
      microbatch=_rows(config, mesh) // _accumulation(config, mesh),
      sequence_length=length,
      prefix_capacity=room / length,
  )


def peak_bytes(config: Mapping[str, Any], mesh: Mapping[str, int]) -> int:
  """Returns the peak memory of a step on a GPU, in bytes.

  Args:
    mesh: number of devices along each axis.
  """
  state = training_memory.state_bytes(config, mesh, _accumulation(config, mesh))
  return training_memory.peak_bytes(state, working_bytes(config, mesh))


def largest(
    config: Mapping[str, Any],
    mesh: Mapping[str, int],
    memory: int,
    *,
    compiled_peak: int | None = None,
) -> list[dict[str, Any]]:
  """Returns the largest microbatch that fits, for each remat policy.

  Args:
    config: the config of the run, whose batch size is kept.
    mesh: number of devices along each axis.
    memory: bytes of a GPU, of which JAX uses `SHARE`.
    compiled_peak: the peak in bytes that the compiler found for this config. If
      its remat is 'none', estimates of 'none' are corrected by the difference.

  Returns:
    A list of dicts: `remat`; `microbatch`, the number of sequences on a GPU;
    `accumulation`, the number of microbatches in a batch; and `bytes`, their
    memory. For remat other than 'none', `bytes` is the least that suffices: the
    compiler uses more if there is room. If not even one sequence fits, both
    numbers are None and `bytes` is the memory of one sequence.
  """
  correction = 0
  if compiled_peak and config['model']['remat'] == 'none':
    correction = compiled_peak - peak_bytes(config, mesh)
  rows = _rows(config, mesh)
  sizes = [n for n in range(1, rows + 1) if not rows % n]
  found = []
  for remat in training_memory.REMAT:
    more = correction if remat == 'none' else 0
    taken = {
        n: more + peak_bytes(_changed(config, remat, n), mesh) for n in sizes
    }
    fitting = [n for n in sizes if taken[n] <= SHARE * memory]
    microbatch = max(fitting, default=None)
    found.append(
        {
            'remat': remat,
            'microbatch': microbatch,
            'accumulation': microbatch and rows // microbatch,
            'bytes': taken[microbatch or 1],
        }
    )
  return found


def _changed(config, remat, microbatch):
  model = {**config['model'], 'remat': remat}
  return {**config, 'model': model, 'microbatch_per_device': microbatch}


def _rows(config, mesh):
  return config['batch_size'] // layout.num_replicas(mesh)


def _accumulation(config, mesh):
  return layout.check_batch(
      config['batch_size'], config['microbatch_per_device'], mesh
  )
