"""How large a microbatch fits on a GPU: an estimate, without jax."""

from collections.abc import Mapping
from typing import Any

from jrt_jax.cost import layout
from jrt_jax.cost import training_memory
from jrt_jax.prefix import policies

# Parts of a GPU's memory that JAX takes, by who has told it to.
SHARES = {'unless told': 0.75, 'by launch slurm': 0.9}
SHARE = SHARES['unless told']


def working_bytes(
    config: Mapping[str, Any], mesh: Mapping[str, int]
) -> dict[str, int]:
  """Returns what a microbatch takes of a GPU, beside the state of the run.

  Args:
    config: of the run.
    mesh: devices along each axis.
  """
  length = config['sequence_length']
  room = policies.prefix_capacity(config['prefix'], length)
  return training_memory.working_bytes(
      config['model'],
      mesh=mesh,
      microbatch=_rows(config, mesh) // _accumulation(config, mesh),
      sequence_length=length,
      prefix_capacity=room / length,
  )


def peak_bytes(config: Mapping[str, Any], mesh: Mapping[str, int]) -> int:
  """Returns the most that a step takes of a GPU at once.

  Args:
    config: of the run.
    mesh: devices along each axis.
  """
  state = training_memory.state_bytes(
      config['model'], mesh, _accumulation(config, mesh)
  )
  return training_memory.peak_bytes(state, working_bytes(config, mesh))


def largest(
    config: Mapping[str, Any],
    mesh: Mapping[str, int],
    memory: int,
    *,
    compiled_peak: int | None = None,
) -> list[dict[str, Any]]:
  """Returns the largest microbatch that fits, for each policy of remat.

  Args:
    config: of the run; its batch stays what it is.
    mesh: devices along each axis.
    memory: bytes of a GPU, of which JAX takes `SHARE`.
    compiled_peak: bytes that the compiler has found for this config. If it
      recomputes nothing, what it differs by from the estimate is added to those
      of 'none'; of others the compiler keeps as much as there is room for.

  Returns:
    Dicts of `remat`, `microbatch`, sequences on a GPU at once, `accumulation`,
    microbatches in a batch, and `bytes`, of others than 'none' the least that
    would do; where not even one sequence fits, the two are None and `bytes` are
    what one would take.
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
