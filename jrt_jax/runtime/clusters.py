"""How a process finds the others of its run: by its scheduler, or by flags."""

from collections.abc import Callable, Mapping

from jrt_jax.runtime import schedulers
from jrt_jax.runtime.schedulers import Place

# Each is a function of (environment, place given by flags).
CLUSTERS: dict[str, Callable[[Mapping[str, str], Place], Place]] = {
    'none': schedulers.none,
    'slurm': schedulers.slurm,
    'openmpi': schedulers.openmpi,
    'mpich': schedulers.mpich,
    'torchrun': schedulers.torchrun,
    'kubernetes': schedulers.kubernetes,
    'skypilot': schedulers.skypilot,
    'flags': schedulers.flags,
}


def find(
    cluster: str, environment: Mapping[str, str], given: Place
) -> tuple[str, Place]:
  """Returns the kind of cluster, a key of CLUSTERS, and this process's place.

  Args:
    cluster: a key of CLUSTERS, or 'auto' to choose by the environment.
    environment: the environment of the process, `os.environ`.
    given: the values of flags, which take precedence over the environment.

  Raises:
    ValueError: the name is unknown, or the environment lacks variables.
  """
  if cluster not in ('auto', *CLUSTERS):
    names = ', '.join(['auto', *CLUSTERS])
    raise ValueError(f'--cluster must be one of {names}, got {cluster!r}')
  if cluster == 'auto':
    cluster = _detect(environment, given)
  detected = CLUSTERS[cluster](environment, given)
  place = Place(
      *(new if new is not None else old for new, old in zip(given, detected))
  )
  _check(cluster, place)
  return cluster, place


def _detect(environment, given):
  """Names the cluster that has started several processes, or 'none'.

  The order matters: `mpirun` inside a SLURM job comes before SLURM, as its
  variables describe the processes that it started. Only variables that prove
  this are used. For example, SLURM_NTASKS is also set in batch scripts and in
  shells of `salloc`, and WORLD_SIZE in scripts that then call `srun`.
  """
  if None not in given:
    return 'flags'
  size = lambda name: environment.get(name) or '1'
  tasks = size('SLURM_STEP_NUM_TASKS')
  started = {
      'openmpi': size('OMPI_COMM_WORLD_SIZE') != '1',
      # `srun` also sets PMI's variables, but then there are as many ranks as
      # tasks. MPICH may use it to start one task on each node.
      'mpich': size('PMI_SIZE') not in ('1', tasks),
      'torchrun': 'RANK' in environment and size('WORLD_SIZE') != '1',
      'slurm': tasks != '1',
      'kubernetes': 'JOB_COMPLETION_INDEX' in environment
      and environment.get(schedulers.NUM_PROCESSES) != '1',
      'skypilot': len(environment.get('SKYPILOT_NODE_IPS', '').split()) > 1,
      'flags': size(schedulers.NUM_PROCESSES) != '1' or given != Place(),
  }
  return next((name for name, yes in started.items() if yes), 'none')


def _check(cluster, place):
  address, size, rank = place
  if size < 1:
    raise ValueError(f'--num_processes must be positive, got {size}')
  if not 0 <= rank < size:
    raise ValueError(f'--process_id must lie in [0, {size}), got {rank}')
  port = address.rpartition(':')[2] if address else ''
  if size > 1 and not (port.isdigit() and 0 < int(port) < 2**16):
    raise ValueError(
        f'--coordinator must be HOST:PORT of process 0, got {address!r}'
        f' (--cluster={cluster})'
    )
