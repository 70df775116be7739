import resource
import types

import jax
import jax.numpy as jnp
import pytest

from jrt_jax.runtime import memory


@pytest.mark.parametrize('donated', [False, True])
def test_a_program_needs_its_arguments_and_what_it_makes(donated):
  n = 1000
  double = jax.jit(lambda x: 2 * x, donate_argnums=0 if donated else ())
  program = double.lower(jnp.zeros(n)).compile()
  assert memory.needed(program) == 4 * n * (1 if donated else 2)


def test_devices_have_what_the_fullest_of_them_has_left():
  devices = [
      types.SimpleNamespace(
          memory_stats=lambda used=used: {
              'bytes_limit': 100,
              'bytes_in_use': used,
          }
      )
      for used in (10, 30)
  ]
  assert memory.free(devices) == 70


# What the kernel tells, and how much of it is free.
MACHINES = {
    'nothing': ({}, None),
    'the machine': (
        {'proc/meminfo': 'MemTotal: 9 kB\nMemAvailable: 7 kB\n'},
        7 * 1024,
    ),
    'a control group around': (
        {
            'proc/meminfo': 'MemAvailable: 7 kB\n',
            'proc/self/cgroup': '0::/job/step\n',
            'sys/fs/cgroup/job/step/memory.max': 'max\n',
            'sys/fs/cgroup/job/memory.max': '5000\n',
            'sys/fs/cgroup/job/memory.current': '1500\n',
            'sys/fs/cgroup/job/memory.stat': 'anon 9\ninactive_file 300\nactive_file 200\n',
        },
        4000,
    ),
    'a control group of version 1': (
        {
            'proc/meminfo': 'MemAvailable: 7 kB\n',
            'proc/self/cgroup': '4:memory:/job\n',
            'sys/fs/cgroup/memory/job/memory.limit_in_bytes': '5000\n',
            'sys/fs/cgroup/memory/job/memory.usage_in_bytes': '1500\n',
        },
        3500,
    ),
}


@pytest.mark.parametrize('machine', MACHINES)
def test_processors_share_what_the_narrowest_limit_leaves(tmp_path, machine):
  files, expected = MACHINES[machine]
  for name, text in files.items():
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  device = types.SimpleNamespace(memory_stats=lambda: None)
  assert memory.free([device], root=tmp_path) == expected
  half = expected and expected // 2
  assert memory.free([device] * 2, root=tmp_path) == half
  assert memory.free([device], processes=2, root=tmp_path) == half


def test_the_address_space_is_a_limit_too(tmp_path, monkeypatch):
  (tmp_path / 'proc/self').mkdir(parents=True)
  (tmp_path / 'proc/self/statm').write_text('3 2 1\n')  # pages
  limit = 10 * resource.getpagesize()
  monkeypatch.setattr(resource, 'getrlimit', lambda _: (limit, limit))
  device = types.SimpleNamespace(memory_stats=lambda: None)
  for processes in (1, 2):  # each has an address space of its own
    free = memory.free([device], processes, tmp_path)
    assert free == 7 * resource.getpagesize()


def test_something_is_free_here():
  assert memory.free(jax.local_devices()) > 2**20
