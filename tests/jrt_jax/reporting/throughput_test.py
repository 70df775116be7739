import types

import jax
import jax.numpy as jnp
import pytest

from jrt_jax.reporting import throughput
from jrt_jax.runtime import phases as phases_lib
from jrt_jax.runtime import sharding


@pytest.fixture
def clock():
  """A clock that stands still unless a test moves it."""
  return types.SimpleNamespace(now=100.0)


@pytest.fixture
def phases(clock):
  """The phases of a process whose devices compute, by that clock."""
  phases = phases_lib.Phases(now=lambda: clock.now)
  clock.now += 10  # for its start
  phases.enter(phases_lib.DEVICES)
  return phases


def test_rates_are_those_since_the_last_reading(clock, phases):
  rates = throughput.Throughput(phases)
  for seconds in (4.0, 1.0):
    for _ in range(2):
      with phases.within(phases_lib.DATA):
        clock.now += seconds / 4
      clock.now += 3 * seconds / 4
      rates.add(tokens=100, loss_tokens=jnp.int32(40))
    assert rates.read() == {
        'step_seconds': seconds,
        'data_seconds': seconds / 4,
        'tokens_per_second': 100 / seconds,
        'loss_tokens_per_second': 40 / seconds,
    }


def test_only_steps_count(clock, phases):
  rates = throughput.Throughput(phases)
  with phases.within(phases_lib.SAVING):
    clock.now += 60
  clock.now += 2
  rates.add(tokens=10, loss_tokens=5)
  with phases.within(phases_lib.EVALUATING):
    clock.now += 30
  assert rates.read()['step_seconds'] == 2


def test_a_reading_without_steps_is_zero(phases):
  assert throughput.Throughput(phases).read()['tokens_per_second'] == 0


@pytest.mark.parametrize(
    'kind, peak',
    [
        ('NVIDIA A100-SXM4-80GB', 312e12),
        ('NVIDIA H100 80GB HBM3', 989e12),
        ('NVIDIA H100 PCIe', 756e12),
        ('NVIDIA H200', 989e12),
        ('NVIDIA GH200 480GB', 989e12),
        ('NVIDIA B200', 2250e12),
        ('NVIDIA GB200', 2500e12),
    ],
)
def test_mfu_is_a_fraction_of_the_peak_of_all_devices(kind, peak):
  devices = [types.SimpleNamespace(device_kind=kind)] * 8
  assert throughput.mfu(1e9, 8 * peak / 4e9, devices) == pytest.approx(0.25)


def test_mfu_of_an_unknown_device_is_none():
  assert throughput.mfu(1e9, 1e6, jax.devices('cpu')) is None


def test_peak_memory_never_falls_and_counts_what_is_held():
  before = throughput.peak_memory()
  assert before > 2**20
  held = bytearray(2**28)
  held[::4096] = b'x' * (2**28 // 4096)
  assert throughput.peak_memory() >= max(before, 2**28)


def test_the_devices_own_figure_comes_first(monkeypatch):
  stats = [{'peak_bytes_in_use': 5}, {'peak_bytes_in_use': 7}, None]
  devices = [
      types.SimpleNamespace(memory_stats=lambda stat=stat: stat)
      for stat in stats
  ]
  monkeypatch.setattr(jax, 'local_devices', lambda: devices)
  assert throughput.peak_memory() == 7


@pytest.mark.parametrize('devices', [1, jax.device_count()])
def test_the_rate_counts_the_products_of_all_devices(monkeypatch, devices):
  mesh = sharding.make_mesh({'data': devices, 'fsdp': 1, 'tensor': 1})
  monkeypatch.setattr(throughput, '_WIDTHS', {'cpu': 16})
  monkeypatch.setattr(throughput, '_SECONDS', 0.0)
  seconds = iter([5.0, 5.0, 7.0])  # the start, before and after 8 products
  monkeypatch.setattr(throughput.time, 'perf_counter', lambda: next(seconds))
  rate = throughput.matmul_rate(mesh, 'bfloat16')
  assert rate == 8 * devices * 2 * 16**3 / 2.0
