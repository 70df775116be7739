"""Measures the speed of a run, the use of its devices, and its memory."""

from collections.abc import Sequence
import resource
import sys
import time

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

from jrt_jax.cost import topology
from jrt_jax.runtime import phases as phases_lib

_WIDTHS = {'cpu': 512}  # width of matrices; a product takes about a millisecond
_WIDTH = 8192  # width on other platforms
_SECONDS = 0.2  # duration of the measurement


class Throughput:
  """Rates over the steps since the last `read`.

  Steps are dispatched before the devices finish them. Call `read`, and enter
  phases other than those of steps, only after a value of the last step was
  fetched.

  Args:
    phases: where the time of steps is measured.
  """

  def __init__(self, phases: phases_lib.Phases):
    self._phases = phases
    self._start()

  def add(self, tokens: int, loss_tokens: int | jax.Array) -> None:
    """Counts a step with `tokens`, of which `loss_tokens` have labels."""
    self._steps += 1
    self._tokens += tokens
    self._loss_tokens += loss_tokens

  def read(self) -> dict[str, float]:
    """Returns the rates by name, and starts anew."""
    seconds = max(self._phases.of_steps() - self._since, 1e-9)
    waited = self._phases.of_steps(phases_lib.DATA) - self._waited
    rates = {
        'step_seconds': seconds / max(self._steps, 1),
        'data_seconds': waited / max(self._steps, 1),
        'tokens_per_second': self._tokens / seconds,
        'loss_tokens_per_second': float(self._loss_tokens) / seconds,
    }
    self._start()
    return rates

  def _start(self):
    self._since = self._phases.of_steps()
    self._waited = self._phases.of_steps(phases_lib.DATA)
    self._steps = self._tokens = self._loss_tokens = 0


def mfu(
    flops_per_token: float,
    tokens_per_second: float,
    devices: Sequence[jax.Device],
) -> float | None:
  """Returns model FLOP/s over the peak of all devices; None if unknown."""
  peak = peak_flops(devices)
  return peak and flops_per_token * tokens_per_second / peak


def peak_flops(devices: Sequence[jax.Device]) -> float | None:
  """Returns the peak of all devices in FLOP/s; None if unknown."""
  gpu = topology.of_kind(devices[0].device_kind)
  return gpu and gpu.flops * len(devices)


def matmul_rate(mesh: Mesh, dtype: str) -> float:
  """Measures the FLOP/s of matrix products on all devices of `mesh`.

  All devices compute at the same time, since some may share a processor.
  """
  platform = mesh.devices.flat[0].platform
  n = _WIDTHS.get(platform, _WIDTH)
  own = NamedSharding(mesh, P(mesh.axis_names))  # a matrix for each device
  make = jax.jit(
      lambda: jnp.full((mesh.size, n, n), 1 / n, dtype), out_shardings=own
  )
  multiply = jax.jit(jnp.matmul, out_shardings=own)
  x = make()
  y = jax.block_until_ready(multiply(x, x))  # compiles
  products, start = 0, time.perf_counter()
  while (elapsed := time.perf_counter() - start) < _SECONDS or not products:
    for _ in range(8):  # dispatched without a wait
      y = multiply(x, y)
    jax.block_until_ready(y)
    products += 8
  return 2 * n**3 * mesh.size * products / elapsed


def peak_memory() -> int:
  """Returns the peak memory of a device in bytes; if unknown, of the host."""
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  peak = max(stat.get('peak_bytes_in_use', 0) for stat in stats)
  if peak:
    return peak
  unit = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
