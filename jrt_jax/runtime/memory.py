"""How much memory a compiled program takes, and how much is free."""

from collections.abc import Sequence
import pathlib
import resource

import jax

# The files with the limit and the use of a control group, by its version, and
# the prefix of the pages that the kernel can reclaim, such as mapped shards.
_CGROUPS = (
    ('', 'memory.max', 'memory.current', ''),
    ('memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_'),
)


class TooLittle(Exception):
  """A program needs more memory than is free."""


def needed(program: jax.stages.Compiled) -> int:
  """Returns the bytes that a program takes on each device while it runs."""
  sizes = program.memory_analysis()
  new_outputs = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
  return sizes.argument_size_in_bytes + sizes.temp_size_in_bytes + new_outputs


def free(
    devices: Sequence[jax.Device],
    processes: int = 1,
    root: pathlib.Path = pathlib.Path('/'),
) -> int | None:
  """Returns the bytes that are free on each of `devices`; None: unknown.

  Devices without their own memory divide that of the machine.

  Args:
    devices: the devices of this process.
    processes: how many processes of the run share the memory of the machine.
    root: the root of the file system, with /proc and /sys of Linux.
  """
  stats = [device.memory_stats() or {} for device in devices]
  if all('bytes_limit' in stat for stat in stats):
    return min(stat['bytes_limit'] - stat['bytes_in_use'] for stat in stats)
  shared = [x // processes for x in _machine(root)]
  own = min([*shared, *_address_space(root)], default=None)
  return own and max(own // len(devices), 0)


def _machine(root):
  """Yields the bytes that each limit of all processes together leaves."""
  for line in _lines(root / 'proc/meminfo'):
    name, kib, *_ = line.split()
    if name == 'MemAvailable:':
      yield 1024 * int(kib)
  yield from _control_groups(root)


def _address_space(root):
  """Yields the bytes that the limit of this process alone leaves, if any."""
  limit, _ = resource.getrlimit(resource.RLIMIT_AS)  # ulimit -v
  for line in _lines(root / 'proc/self/statm'):
    if limit != resource.RLIM_INFINITY:
      yield limit - int(line.split()[0]) * resource.getpagesize()


def _control_groups(root):
  """Yields the bytes that the control groups of this process leave."""
  own = [line.split(':', 2)[2] for line in _lines(root / 'proc/self/cgroup')]
  for folder, limit_file, used_file, prefix in _CGROUPS:
    top = root / 'sys/fs/cgroup' / folder
    paths = {top / name.lstrip('/') for name in own} | {top}
    for group in {parent for p in paths for parent in (p, *p.parents)}:
      for limit in _lines(group / limit_file):
        stat = dict(map(str.split, _lines(group / 'memory.stat')))
        for used in _lines(group / used_file) if limit != 'max' else ():
          pages = [f'{prefix}{x}active_file' for x in ('', 'in')]
          given_back = sum(int(stat.get(name, 0)) for name in pages)
          yield int(limit) - int(used) + given_back


def _lines(path):
  try:
    return path.read_text().splitlines()
  except OSError:
    return []
