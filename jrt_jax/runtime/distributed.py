"""Runs of several processes: how these find each other and communicate.

In a run of one process these functions do nothing.
"""

from collections.abc import Callable, Mapping, Sequence
import itertools
import json
import os
import socket
import sys
import threading
import time
from typing import Any, NamedTuple

import jax
from jax.experimental import multihost_utils
import numpy as np
from orbax.checkpoint import multihost

import jrt_jax
from jrt_jax.runtime import clusters
from jrt_jax.runtime import exit_codes
from jrt_jax.runtime import gpus
from jrt_jax.runtime import lost_peer

HEARTBEAT = 30  # seconds of silence after which a process counts as dead

# Seconds until all processes must have started. Pods start one by one, as soon as
# there is a node and each node has the image.
PATIENCE, PATIENCE_WITH_PODS = 300, 1800

# Waits are long, since others may tokenise or compile; if a process dies, they
# end earlier.
LONG = 24 * 60 * 60  # seconds

# Errors that are passed from one process to another.
MISTAKES = (ValueError, OSError, NotImplementedError)

_rounds = itertools.count()
_place = clusters.Place(None, 1, 0)  # of this process
_node_size = 1


class Peers(NamedTuple):
  """The processes of a run, as one of them sees them."""

  cluster: str = 'none'  # a key of clusters.CLUSTERS
  num_processes: int = 1
  process_id: int = 0
  num_nodes: int = 1
  is_first_of_node: bool = True
  local_device_ids: Sequence[int] | None = None  # GPUs; None: all of them

  def __str__(self) -> str:
    nodes = f'{self.num_nodes} node' + 's' * (self.num_nodes > 1)
    devices = jax.local_devices()
    if devices[0].platform == 'gpu':
      takes = f'GPUs {[*(self.local_device_ids or range(len(devices)))]}'
    else:
      takes = f'{len(devices)} {devices[0].platform.upper()} device'
      takes += 's' * (len(devices) > 1)
    return (
        f'processes: {self.num_processes} on {nodes} ({self.cluster}), this one'
        f' takes {takes}'
    )


def meet(
    cluster: str = 'auto',
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    local_device_ids: Sequence[int] | None = None,
    timeout: float | None = None,
) -> Peers:
  """Joins the processes of a run; no device may be used before `open_devices`.

  Args:
    cluster: a key of clusters.CLUSTERS, or 'auto' to detect it.
    coordinator: host:port of process 0, if the cluster does not provide it.
    num_processes: number of processes, if the cluster does not provide it.
    process_id: number of this process, if the cluster does not provide it.
    local_device_ids: the GPUs of its node that this process uses; by default
      the processes of a node divide them evenly, in the order of their ids.
    timeout: seconds after which the program ends if processes are missing;
      by default PATIENCE, and PATIENCE_WITH_PODS in Kubernetes.

  Raises:
    ValueError: the cluster is unknown or lacks variables, the ids are not
      numbers, or the GPUs of a node do not divide evenly among its processes.
    OSError: process 0 cannot listen at the port of the coordinator.
  """
  given = clusters.Place(coordinator, num_processes, process_id)
  cluster, place = clusters.find(cluster, os.environ, given)
  ids = gpus.check_ids(local_device_ids)
  if place.num_processes == 1:
    _restrict_gpus(ids)
    return Peers(cluster, local_device_ids=ids)
  has_pods = cluster == 'kubernetes'
  _connect(place, timeout or (PATIENCE_WITH_PODS if has_pods else PATIENCE))
  texts = gather('jrt_jax/hosts', f'{socket.gethostname()} {gpus.visible()}')
  hosts, counts = zip(*(text.split() for text in texts))
  if ids is None:
    ids = gpus.share([*zip(hosts, map(int, counts))], place.process_id)
  _restrict_gpus(ids)
  global _node_size
  _, size, process = place
  _node_size = hosts.count(hosts[int(process)])
  is_first_of_node = hosts.index(hosts[int(process)]) == process
  return Peers(cluster, size, process, len(set(hosts)), is_first_of_node, ids)


def open_devices() -> None:
  """Opens the devices of all processes, which must all call this."""
  if jax.distributed.is_initialized():
    multihost_utils.sync_global_devices('start')


def shutdown() -> None:
  """Waits until all processes call this, and disconnects from them."""
  jax.distributed.shutdown()


def process_id() -> int:
  """Returns the number of this process; unlike jax, without opening devices."""
  return _place.process_id


def node_size() -> int:
  """Returns how many processes of the run are on the node of this one."""
  return _node_size


def is_first() -> bool:
  """Whether this is process 0, which prints and writes files."""
  return process_id() == 0


def tell(line: str) -> None:
  """Prints a line on the standard error of process 0."""
  if is_first():
    print(line, file=sys.stderr, flush=True)


def largest(*numbers: int) -> list[int]:
  """Returns the maximum of each number over all processes; uses devices."""
  if not jax.distributed.is_initialized():
    return [*numbers]
  everyones = multihost_utils.process_allgather(np.int32(numbers))
  return everyones.max(axis=0).tolist()


def from_first(function: Callable[[], Any]) -> Any:
  """Calls `function` in process 0 only and returns its result in all.

  All processes must call it, in the same order. The others wait as long as it
  takes. The result must be JSON of at most a megabyte.

  Raises:
    ValueError, OSError, NotImplementedError: if `function` raises one, every
      process raises it.
  """
  if not jax.distributed.is_initialized():
    return function()
  key = f'jrt_jax/first/{next(_rounds)}'
  client = multihost.get_jax_distributed_client()
  if not is_first():
    error, result = json.loads(client.blocking_key_value_get(key, 1000 * LONG))
    if error:
      raise unpack_error(error, MISTAKES)
    return result
  try:
    result = function()
  except MISTAKES as error:
    client.key_value_set(key, json.dumps([pack_error(error, MISTAKES), None]))
    raise
  client.key_value_set(key, json.dumps([None, result]))
  return result


def everyones(name: str, value: Any) -> list[Any]:
  """Returns the values of all processes, in their order; uses no device.

  Args:
    name: a name for these values, used once in a run.
    value: the value of this process, JSON.
  """
  if not jax.distributed.is_initialized():
    return [value]
  texts = gather(f'jrt_jax/{name}', json.dumps(value))
  return [json.loads(text) for text in texts]


def check_same(facts: Mapping[str, Any]) -> None:
  """Raises ValueError in all processes unless all have the same `facts`.

  Versions of jax and of this package are compared as well.

  Args:
    facts: {name: value}, JSON.
  """
  versions = {m.__name__: f'version {m.__version__}' for m in (jax, jrt_jax)}
  facts, *others = everyones('facts', versions | facts)
  for process, other in enumerate(others, 1):
    for name in sorted(facts | other):
      here, there = (x.get(name, '(not set)') for x in (facts, other))
      if json.dumps(here) != json.dumps(there):
        raise ValueError(
            f'all processes must be started the same way: {name} is {here!r} in'
            f' process 0 and {there!r} in process {process}'
        )


def gather(key: str, text: str, seconds: float = LONG) -> list[str]:
  """Returns the texts of all processes, in their order; uses no device.

  Args:
    key: a key that is the same in all processes and was never used before.
    seconds: how long to wait for the others.

  Raises:
    JaxRuntimeError: a text is missing after `seconds`.
  """
  client = multihost.get_jax_distributed_client()
  client.key_value_set(f'{key}/{process_id()}', text)
  deadline = time.monotonic() + seconds
  texts = []
  for k in range(_place.num_processes):
    left = max(int(1000 * (deadline - time.monotonic())), 1)
    texts.append(client.blocking_key_value_get(f'{key}/{k}', left))
  return texts


def pack_error(error: Exception, kinds: Sequence[type]) -> list[str]:
  """Returns JSON for `unpack_error`, for an error of one of the `kinds`."""
  kind = next(kind for kind in kinds if isinstance(error, kind))
  return [kind.__name__, str(error)]


def unpack_error(packed: list[str], kinds: Sequence[type]) -> Exception:
  """Returns an error of one of the `kinds`, with its message."""
  name, message = packed
  return {kind.__name__: kind for kind in kinds}[name](message)


def _connect(place, timeout):
  global _place
  if place.process_id == 0:
    _check_port(place.coordinator)
  # This service would replace our handler of SIGTERM.
  jax.config.update('jax_enable_preemption_service', False)
  # At its own timeout jax would print a stack trace.
  alarm = threading.Timer(timeout, _give_up, (place, timeout))
  alarm.daemon = True
  alarm.start()
  try:
    jax.distributed.initialize(
        *place,
        cluster_detection_method='deactivate',
        initialization_timeout=int(timeout) + 60,
        heartbeat_timeout_seconds=HEARTBEAT,
        shutdown_timeout_seconds=LONG,
    )
    _place = place
    lost_peer.watch(place.process_id)
  finally:
    alarm.cancel()


def _check_port(coordinator):
  """Raises OSError if the port cannot be used; jax would crash."""
  port = int(coordinator.rpartition(':')[2])
  family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
  with socket.socket(family) as listener:
    # Connections that an earlier run left behind are no problem.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      listener.bind(('', port))
      listener.listen()
    except OSError as error:
      raise OSError(
          f'process 0 cannot listen at the port of {coordinator}, which may be'
          f' in use: pass another --coordinator ({error})'
      ) from error


def _give_up(place, timeout):
  address, count, process = place
  text = (
      f'error: process {process} of {count} waited {timeout:g} s for the others'
      f' at {address}: have all been started, and can they reach it?\n'
  )
  os.write(2, text.encode())
  os._exit(exit_codes.FAILURE)


def _restrict_gpus(ids):
  if ids is not None:
    jax.config.update('jax_cuda_visible_devices', ','.join(map(str, ids)))
