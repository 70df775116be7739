"""How fast a run is, how well it uses its devices, and how much memory."""

from collections.abc import Iterator, Sequence
import contextlib
import resource
import sys
import time

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

from jrt_jax.cost import topology

_WIDTHS = {'cpu': 512}  # of matrices: they take a millisecond or so
_WIDTH = 8192  # on other platforms
_SECONDS = 0.2  # of measuring


class Throughput:
  """Rates over the steps since the last reading, less what was paused.

  Steps are dispatched ahead of the devices: read, and enter `paused`, only
  after a value of the last step has been fetched.
  """

  def __init__(self):
    self._start()

  def add(self, tokens: int, loss_tokens: int | jax.Array) -> None:
    """Counts a step of so many tokens, of which so many were supervised."""
    self._steps += 1
    self._tokens += tokens
    self._loss_tokens += loss_tokens

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Counts the time of what is done inside as waiting for data."""
    before = time.perf_counter()
    yield
    self._waited += time.perf_counter() - before

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Leaves out the time of what is done inside: compiling, evaluating."""
    before = time.perf_counter()
    try:
      yield
    finally:
      self._since += time.perf_counter() - before

  def read(self) -> dict[str, float]:
    """Returns the rates by name, and starts anew."""
    seconds = max(time.perf_counter() - self._since, 1e-9)
    rates = {
        'step_seconds': seconds / max(self._steps, 1),
        'data_seconds': self._waited / max(self._steps, 1),
        'tokens_per_second': self._tokens / seconds,
        'loss_tokens_per_second': float(self._loss_tokens) / seconds,
    }
    self._start()
    return rates

  def _start(self):
    self._since = time.perf_counter()
    self._steps = self._tokens = self._loss_tokens = self._waited = 0


def mfu(
    flops_per_token: float,
    tokens_per_second: float,
    devices: Sequence[jax.Device],
) -> float | None:
  """Model FLOP/s over the peak of all devices; None if that is not known."""
  peak = peak_flops(devices)
  return peak and flops_per_token * tokens_per_second / peak


def peak_flops(devices: Sequence[jax.Device]) -> float | None:
  """Returns the peak of all devices in FLOP/s; None if it is not known."""
  gpu = topology.of_kind(devices[0].device_kind)
  return gpu and gpu.flops * len(devices)


def matmul_rate(mesh: Mesh, dtype: str) -> float:
  """Returns the FLOP/s of products of matrices on all devices of `mesh`.

  Measured, so that it needs no table of devices, and is theirs as they are
  today. They compute at the same time, since some share a processor.

  Args:
    mesh: of the devices.
    dtype: of the model.
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
  """Returns the most bytes a device has held, or the host where none says."""
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  peak = max(stat.get('peak_bytes_in_use', 0) for stat in stats)
  if peak:
    return peak
  unit = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
