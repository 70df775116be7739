"""How much memory a compiled program takes, and how much is free."""

from collections.abc import Sequence
import pathlib
import resource

import jax

# Limits and use of a control group, by its version: names of files, and how
# what the kernel gives back is named: pages of files, such as mapped shards.
_CGROUPS = (
    ('', 'memory.max', 'memory.current', ''),
    ('memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_'),
)


class TooLittle(Exception):
  """A program would not fit into the memory that is free."""


def needed(program: jax.stages.Compiled) -> int:
  """Returns the bytes that a program takes on each device while it runs."""
  sizes = program.memory_analysis()
  new_outputs = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
  return sizes.argument_size_in_bytes + sizes.temp_size_in_bytes + new_outputs


def free(
    devices: Sequence[jax.Device], root: pathlib.Path = pathlib.Path('/')
) -> int | None:
  """Returns the bytes that each of `devices` can still give; None: unknown.

  Devices without a memory of their own share that of the machine.

  Args:
    devices: of this process.
    root: of the file system in which Linux tells of the machine.
  """
  stats = [device.memory_stats() or {} for device in devices]
  if all('bytes_limit' in stat for stat in stats):
    return min(stat['bytes_limit'] - stat['bytes_in_use'] for stat in stats)
  machine = min(_machine(root), default=None)
  return machine and max(machine // len(devices), 0)


def _machine(root):
  """What each limit of this process leaves."""
  for line in _lines(root / 'proc/meminfo'):
    name, kib, *_ = line.split()
    if name == 'MemAvailable:':
      yield 1024 * int(kib)
  yield from _control_groups(root)
  limit, _ = resource.getrlimit(resource.RLIMIT_AS)  # ulimit -v
  for line in _lines(root / 'proc/self/statm'):
    if limit != resource.RLIM_INFINITY:
      yield limit - int(line.split()[0]) * resource.getpagesize()


def _control_groups(root):
  """What the groups of this process, and those around them, leave it."""
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
