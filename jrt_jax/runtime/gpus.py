"""Which GPUs of its node a process uses."""

from collections.abc import Sequence
import os
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

_SECONDS = 120  # time limit for an answer of the driver

# Name, compute capability, driver, and whether it is divided (MIG).
_FACTS = re.compile(r'([^,]+), (\d+\.\d+), ([\d.]+)(?:, ([^,]+))?')

# Run as a script without site-packages, so that it starts quickly.
_CUDA_DRIVER = pathlib.Path(__file__).with_name('cuda_driver.py')
_CUDA = sys.executable, '-I', '-S', str(_CUDA_DRIVER)


class Gpu(NamedTuple):
  """A GPU of this node, as its driver describes it."""

  id: str  # as in CUDA_VISIBLE_DEVICES
  kind: str  # what JAX calls its `device_kind`
  compute_capability: str
  driver: str  # its version


def check_ids(ids: Sequence[int | str] | None) -> list[int] | None:
  """Returns the ids of GPUs as numbers.

  Raises:
    ValueError: an id is not a number.
  """
  if ids is None:
    return None
  if not ids or not all(str(i).isdigit() for i in ids):
    raise ValueError(
        f'--local_device_ids must be numbers, as in 0,1, got {ids}'
    )
  return [int(i) for i in ids]


def share(
    processes: Sequence[tuple[str, int]], process_id: int
) -> range | None:
  """Returns the ids of the GPUs that a process uses, or None for all it sees.

  The processes of a node divide its GPUs evenly, in order. If a process sees
  only one GPU, the scheduler has divided them already.

  Args:
    processes: for each process, its node and the number of GPUs it sees.

  Raises:
    ValueError: the GPUs of a node do not divide evenly; every process raises
      this.
  """
  hosts = [host for host, _ in processes]
  for host, count in processes:
    sharing = hosts.count(host)
    if count > 1 and count % sharing:
      raise ValueError(
          f'the {sharing} processes of {host} cannot share its {count} GPUs'
          ' evenly: start one process for each GPU, or pass --local_device_ids'
      )
  host, count = processes[process_id]
  here = [k for k, other in enumerate(hosts) if other == host]
  if len(here) == 1 or count < 2:
    return None
  size, rank = count // len(here), here.index(process_id)
  return range(size * rank, size * (rank + 1))


def visible() -> int:
  """Returns how many GPUs this process may use, without opening one."""
  platforms = os.environ.get('JAX_PLATFORMS')
  if platforms and not re.search('cuda|gpu', platforms):
    return 0
  chosen = os.environ.get('CUDA_VISIBLE_DEVICES')
  if chosen is not None:
    return len(list(filter(None, chosen.split(','))))
  lines = _said('nvidia-smi', '-L').splitlines()
  count = sum(line.startswith('GPU') for line in lines)
  return count or len(_said(*_CUDA).splitlines())


def first(ids: Sequence[int] | None = None) -> Gpu | None:
  """Describes the first GPU that this process uses, without opening it.

  Returns None if there is no GPU. If nvidia-smi does not know the GPU, as for
  parts of a divided GPU (MIG), the CUDA driver is asked.

  Args:
    ids: indices of the visible GPUs that this process uses; None: those of
      JAX_CUDA_VISIBLE_DEVICES, or else all.
  """
  if not visible():
    return None
  taken = _first_for_jax() if ids is None else ids[0]
  chosen = os.environ.get('CUDA_VISIBLE_DEVICES')
  known = chosen.split(',') if chosen else None
  if known and taken >= len(known):
    return None
  place = known[taken].strip() if known else str(taken)
  facts = '--query-gpu=name,compute_cap,driver_version,mig.mode.current'
  query = '-i', place, facts, '--format=csv,noheader'
  found = _FACTS.fullmatch(_said('nvidia-smi', *query).strip())
  if not found or found[4] == 'Enabled':
    lines = _said(*_CUDA).splitlines()  # in the order of jax
    found = taken < len(lines) and _FACTS.fullmatch(lines[taken])
  return Gpu(place, *found.groups()[:3]) if found else None


def _first_for_jax():
  """Index of the first GPU for jax among those of CUDA; 0 if not a number."""
  first, *_ = os.environ.get('JAX_CUDA_VISIBLE_DEVICES', 'all').split(',')
  return int(first) if first.strip().isdigit() else 0


def _said(*command):
  """Returns the output of a command; '' if it cannot be run."""
  try:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors='replace',
        timeout=_SECONDS,
    ).stdout
  except (OSError, subprocess.SubprocessError):
    return ''
