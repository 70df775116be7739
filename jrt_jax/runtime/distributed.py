"""One run in several processes: how they meet, and how they agree.

In a run of one process nothing here does anything.
"""

from collections.abc import Callable, Mapping, Sequence
import itertools
import json
import os
import socket
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

# Waits are long, for others may tokenise or compile; a death ends them earlier.
LONG = 24 * 60 * 60  # seconds

# What crosses from one process to another.
MISTAKES = (ValueError, OSError, NotImplementedError)

_rounds = itertools.count()
_place = clusters.Place(None, 1, 0)  # of this process


class Peers(NamedTuple):
  """The processes of a run, as one of them sees them."""

  cluster: str = 'none'  # a key of clusters.CLUSTERS
  num_processes: int = 1
  process_id: int = 0
  num_nodes: int = 1
  is_first_of_node: bool = True
  local_device_ids: Sequence[int] | None = None  # of GPUs; None: all there are

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
    timeout: float = 300,
) -> Peers:
  """Joins the processes of a run; no device may be used before `open_devices`.

  Args:
    cluster: how the others are found, a key of clusters.CLUSTERS, or 'auto'.
    coordinator: host:port of process 0, if the cluster does not tell it.
    num_processes: how many there are, likewise.
    process_id: which of them this is, likewise.
    local_device_ids: the GPUs of its node that this process takes; by default
      the processes of a node share them evenly, in the order of their ids.
    timeout: seconds after which the program ends if some have not come.

  Raises:
    ValueError: the cluster is unknown or tells only half, the ids are no
      numbers, or the processes of a node cannot share its GPUs evenly.
    OSError: process 0 cannot listen at the coordinator's port.
  """
  given = clusters.Place(coordinator, num_processes, process_id)
  cluster, place = clusters.find(cluster, os.environ, given)
  ids = gpus.check_ids(local_device_ids)
  if place.num_processes == 1:
    _restrict_gpus(ids)
    return Peers(cluster, local_device_ids=ids)
  _connect(place, timeout)
  texts = gather('jrt_jax/hosts', f'{socket.gethostname()} {gpus.visible()}')
  hosts, counts = zip(*(text.split() for text in texts))
  if ids is None:
    ids = gpus.share([*zip(hosts, map(int, counts))], place.process_id)
  _restrict_gpus(ids)
  _, size, process = place
  is_first_of_node = hosts.index(hosts[process]) == process
  return Peers(cluster, size, process, len(set(hosts)), is_first_of_node, ids)


def open_devices() -> None:
  """Opens the devices of all processes, which must come here together."""
  if jax.distributed.is_initialized():
    multihost_utils.sync_global_devices('start')


def shutdown() -> None:
  """Waits for all processes to come here, and parts from them."""
  jax.distributed.shutdown()


def process_id() -> int:
  """Which process of the run this is; unlike jax it opens no device to know."""
  return _place.process_id


def is_first() -> bool:
  """Whether this process is the one that prints and writes files."""
  return process_id() == 0


def largest(*numbers: int) -> list[int]:
  """The largest of each number in all processes; waits for their devices."""
  if not jax.distributed.is_initialized():
    return [*numbers]
  everyones = multihost_utils.process_allgather(np.int32(numbers))
  return everyones.max(axis=0).tolist()


def from_first(function: Callable[[], Any]) -> Any:
  """Calls `function` in process 0 only and returns its result in all.

  All processes must call it, in the same order. The others wait as long as it
  takes. The result must be JSON of at most a megabyte.

  Raises:
    ValueError, OSError, NotImplementedError: as `function` raises it, in every
      process.
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
    name: of what is asked for, once in a run.
    value: of this process: JSON.
  """
  if not jax.distributed.is_initialized():
    return [value]
  texts = gather(f'jrt_jax/{name}', json.dumps(value))
  return [json.loads(text) for text in texts]


def check_same(facts: Mapping[str, Any]) -> None:
  """Raises ValueError, in all processes, if one was started in another way.

  Versions of jax and of this package are compared as well.

  Args:
    facts: by name, what they must agree in: JSON.
  """
  versions = {m.__name__: f'version {m.__version__}' for m in (jax, jrt_jax)}
  facts, *others = everyones('facts', versions | facts)
  for process, other in enumerate(others, 1):
    for name in sorted(facts | other):
      here, there = (x.get(name, '(not set)') for x in (facts, other))
      if json.dumps(here) != json.dumps(there):
        raise ValueError(
            f'all processes must be started alike: {name} is {here!r} in'
            f' process 0 and {there!r} in process {process}'
        )


def gather(key: str, text: str, seconds: float = LONG) -> list[str]:
  """Returns the texts of all processes, in their order; uses no device.

  Args:
    key: the same in all processes, and never used before.
    text: of this process.
    seconds: how long to wait for the others.

  Raises:
    JaxRuntimeError: some have not come after `seconds`.
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
  # That service would take SIGTERM away from us, from here on.
  jax.config.update('jax_enable_preemption_service', False)
  # At its own timeout jax would end with a dump of its stack.
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
  """Raises OSError if nobody can listen there; jax has been seen to crash."""
  port = int(coordinator.rpartition(':')[2])
  family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
  with socket.socket(family) as listener:
    # Connections that a former run left behind do not count.
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
      f' at {address}: are all of them started, and can they reach it?\n'
  )
  os.write(2, text.encode())
  os._exit(exit_codes.FAILURE)


def _restrict_gpus(ids):
  if ids is not None:
    jax.config.update('jax_cuda_visible_devices', ','.join(map(str, ids)))
