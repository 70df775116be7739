"""The place of a process in its run, from the variables of a scheduler.

Only the environment is read. If `jax.distributed` supports a scheduler too, the
coordinator is the host that it would choose.
"""

from collections.abc import Mapping
import re
from typing import NamedTuple
import zlib

# Variables that jax reads as well.
COORDINATOR = 'JAX_COORDINATOR_ADDRESS'
NUM_PROCESSES = 'JAX_NUM_PROCESSES'
PROCESS_ID = 'JAX_PROCESS_ID'

_ALONE = 'or pass --cluster=none for a run of this process alone'
_ORTE = 'OMPI_MCA_orte_hnp_uri'  # Open MPI 4 and older


class Place(NamedTuple):
  """The place of a process in its run; None: not known yet."""

  coordinator: str | None = None  # host:port of process 0
  num_processes: int | None = None
  process_id: int | None = None


def none(environment: Mapping[str, str], given: Place) -> Place:
  """A run of one process, whatever the environment says."""
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
  return _place('slurm', address, size, rank)


def openmpi(environment: Mapping[str, str], given: Place) -> Place:
  """A process of `mpirun`; across nodes, Open MPI 5 needs a coordinator."""
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
  return _place('openmpi', address, size, rank)


def mpich(environment: Mapping[str, str], given: Place) -> Place:
  """A process of the `mpirun` of MPICH or Intel MPI, by PMI's variables.

  Intel MPI names its job, from which the processes of one node derive the same
  port; otherwise a coordinator is needed.
  """
  size, rank = _need(environment, 'mpich', 'mpirun', 'PMI_SIZE', 'PMI_RANK')
  job = environment.get('I_MPI_HYDRA_UUID')
  if job and environment.get('MPI_LOCALNRANKS') == size:
    address = f'localhost:{_port(job)}'
  else:
    address = _coordinator(environment, 'mpich', given)
  return _place('mpich', address, size, rank)


def torchrun(environment: Mapping[str, str], given: Place) -> Place:
  """A process of `torchrun`, or of an operator that sets its variables."""
  names = ('MASTER_ADDR', 'MASTER_PORT', 'WORLD_SIZE', 'RANK')
  host, port, size, rank = _need(environment, 'torchrun', 'torchrun', *names)
  del given
  if environment.get('TORCHELASTIC_USE_AGENT_STORE') == 'True':
    port = _port(port)  # torchrun itself listens there
  return _place('torchrun', f'{host}:{port}', size, rank)


def kubernetes(environment: Mapping[str, str], given: Place) -> Place:
  """A pod of an Indexed Job.

  Kubernetes sets JOB_COMPLETION_INDEX; the template of the job must set
  JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES, or pass the flags. If each pod
  is a separate run, JAX_NUM_PROCESSES must be 1.
  """
  (rank,) = _need(
      environment, 'kubernetes', 'an Indexed Job', 'JOB_COMPLETION_INDEX'
  )
  size = given.num_processes
  if size is None:
    (size,) = _need(environment, 'kubernetes', 'its template', NUM_PROCESSES)
  address = _coordinator(environment, 'kubernetes', given)
  return _place('kubernetes', address, size, rank)


def skypilot(environment: Mapping[str, str], given: Place) -> Place:
  """The one process on a node of SkyPilot, which uses all GPUs of the node."""
  names = ('SKYPILOT_NODE_IPS', 'SKYPILOT_NODE_RANK', 'SKYPILOT_TASK_ID')
  nodes, rank, task = _need(environment, 'skypilot', 'SkyPilot', *names)
  del given
  hosts = nodes.split()
  return _place('skypilot', f'{hosts[0]}:{_port(task)}', len(hosts), rank)


def flags(environment: Mapping[str, str], given: Place) -> Place:
  """--coordinator, --num_processes and --process_id, or jax's variables."""
  variables = (COORDINATOR, NUM_PROCESSES, PROCESS_ID)
  texts = []
  for flag, variable in zip(Place._fields, variables):
    value = getattr(given, flag)
    texts.append(environment.get(variable) if value is None else value)
    if texts[-1] is None:
      raise ValueError(
          '--cluster=flags needs --coordinator, --num_processes and'
          f' --process_id: neither --{flag} nor {variable} is given'
      )
  return _place('flags', *texts)


def _need(environment, cluster, launcher, *names):
  """Returns the values of variables that the launcher sets."""
  for name in names:
    if not environment.get(name):
      raise ValueError(
          f'--cluster={cluster} needs the environment variable {name}, which'
          f' is not set: {launcher} sets it, {_ALONE}'
      )
  return [environment[name] for name in names]


def _coordinator(environment, cluster, given):
  address = given.coordinator or environment.get(COORDINATOR)
  if not address:
    raise ValueError(
        f'--cluster={cluster} does not say where process 0 runs: pass'
        f' --coordinator=HOST:PORT, set {COORDINATOR}, {_ALONE}'
    )
  return address


def _place(cluster, address, size, rank):
  """Returns a Place; `size` and `rank` may be strings."""
  try:
    return Place(address, int(size), int(rank))
  except ValueError as error:
    raise ValueError(
        f'--cluster={cluster} needs whole numbers of processes, got process'
        f' {rank!r} of {size!r}'
    ) from error


def _first_host(nodes):
  """Returns the first host of a list of SLURM, as in node[01-15,20],other."""
  first = re.match(r'(?:[^,[]|\[[^]]*\])+', nodes).group()
  return re.sub(r'\[(\w+)[^]]*\]', r'\1', first)


def _port(job):
  """Returns a port above the ephemeral ones, derived from the job's name."""
  return 61440 + zlib.crc32(job.encode()) % 4096
