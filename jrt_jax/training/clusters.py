"""How a process finds the others of its run: from a scheduler, or from flags.

Only the environment is read. Where `jax.distributed` knows a scheduler too, the
coordinator is the one that it would choose, up to its port.
"""

from collections.abc import Callable, Mapping
import re
from typing import NamedTuple
import zlib

_COORDINATOR = 'JAX_COORDINATOR_ADDRESS'  # jax reads it as well
_NUM_PROCESSES = 'JAX_NUM_PROCESSES'
_ORTE = 'OMPI_MCA_orte_hnp_uri'  # Open MPI 4 and older


class Place(NamedTuple):
  """Where processes meet, and which of them one is; None is not known yet."""

  coordinator: str | None = None  # host:port of process 0
  num_processes: int | None = None
  process_id: int | None = None


def find(
    cluster: str, environment: Mapping[str, str], given: Place
) -> tuple[str, Place]:
  """Returns the kind of cluster, a key of CLUSTERS, and this process's place.

  Args:
    cluster: a key of CLUSTERS, or 'auto' to choose by the environment.
    environment: of the process; `os.environ`.
    given: what flags say; it wins over the environment.

  Raises:
    ValueError: the name is unknown, or the environment tells only half.
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


def none(environment: Mapping[str, str], given: Place) -> Place:
  """One process, whatever the environment says."""
  del environment, given
  return Place(None, 1, 0)


def slurm(environment: Mapping[str, str], given: Place) -> Place:
  """A task of `srun`; process 0 runs on the first node of the step."""
  names = ('JOB_ID', 'STEP_ID', 'STEP_NODELIST', 'STEP_NUM_TASKS', 'PROCID')
  job, step, nodes, size, rank = _need(
      environment, 'slurm', 'srun', *(f'SLURM_{name}' for name in names)
  )
  del given
  address = f'{_first_host(nodes)}:{_port(f"{job}.{step}")}'
  return Place(address, int(size), int(rank))


def openmpi(environment: Mapping[str, str], given: Place) -> Place:
  """A process of `mpirun`; beyond one node, Open MPI 5 needs a coordinator."""
  names = ('SIZE', 'RANK', 'LOCAL_SIZE')
  size, rank, local_size = _need(
      environment, 'openmpi', 'mpirun', *(f'OMPI_COMM_WORLD_{n}' for n in names)
  )
  job = environment.get(_ORTE) or environment.get('PMIX_NAMESPACE', '')
  host = re.search(r'tcp://([^,:]+)|tcp6://\[([^,\]]+)', job)
  if size == local_size:
    address = f'localhost:{_port(job)}'
  elif host:
    address = f'{host[1] or f"[{host[2]}]"}:{_port(job)}'
  else:
    address = _coordinator(environment, 'openmpi', given)
  return Place(address, int(size), int(rank))


def kubernetes(environment: Mapping[str, str], given: Place) -> Place:
  """A pod of an Indexed Job, whose template names the others.

  Kubernetes sets JOB_COMPLETION_INDEX; the Job's template must set
  JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES, or pass the flags.
  """
  (rank,) = _need(
      environment, 'kubernetes', 'an Indexed Job', 'JOB_COMPLETION_INDEX'
  )
  size = given.num_processes
  if size is None:
    (size,) = _need(environment, 'kubernetes', 'its template', _NUM_PROCESSES)
  address = _coordinator(environment, 'kubernetes', given)
  return Place(address, int(size), int(rank))


def flags(environment: Mapping[str, str], given: Place) -> Place:
  """--coordinator, --num_processes and --process_id."""
  del environment
  for name, value in given._asdict().items():
    if value is None:
      raise ValueError(
          '--cluster=flags needs --coordinator, --num_processes and'
          f' --process_id: --{name} is not given'
      )
  return given


# A function of (environment, given by flags) each.
CLUSTERS: dict[str, Callable[[Mapping[str, str], Place], Place]] = {
    'none': none,
    'slurm': slurm,
    'openmpi': openmpi,
    'kubernetes': kubernetes,
    'flags': flags,
}


def _detect(environment, given):
  """Names the cluster that plainly started several processes.

  SLURM_NTASKS is set in batch scripts and in the shells of `salloc` as well,
  and an Indexed Job may be many runs of one process each.
  """
  coordinator = given.coordinator or environment.get(_COORDINATOR)
  if None not in given:
    return 'flags'
  alone = (None, '', '1')
  if environment.get('OMPI_COMM_WORLD_SIZE') not in alone:
    return 'openmpi'  # first: mpirun may have been started by srun
  if environment.get('SLURM_STEP_NUM_TASKS') not in alone:
    return 'slurm'
  if 'JOB_COMPLETION_INDEX' in environment and coordinator:
    return 'kubernetes'
  return 'none' if given == Place() else 'flags'


def _need(environment, cluster, launcher, *names):
  """Returns the values of variables that the launcher sets."""
  for name in names:
    if not environment.get(name):
      raise ValueError(
          f'--cluster={cluster} needs the environment variable {name}, which'
          f' is not set: {launcher} sets it'
      )
  return [environment[name] for name in names]


def _coordinator(environment, cluster, given):
  address = given.coordinator or environment.get(_COORDINATOR)
  if not address:
    raise ValueError(
        f'--cluster={cluster} cannot tell where process 0 runs: pass'
        f' --coordinator=HOST:PORT, or set {_COORDINATOR}'
    )
  return address


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


def _first_host(nodes):
  """The first of SLURM's node[01-15,20],other; each bracket is a set."""
  first = re.match(r'(?:[^,[]|\[[^]]*\])+', nodes).group()
  return re.sub(r'\[(\w+)[^]]*\]', r'\1', first)


def _port(job):
  """A port above the ephemeral ones, by the name of the job."""
  return 61440 + zlib.crc32(job.encode()) % 4096
