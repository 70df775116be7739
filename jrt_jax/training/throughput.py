"""How fast a run is, how well it uses its devices, and how much memory."""

from collections.abc import Iterator, Sequence
import contextlib
import resource
import sys
import time

import jax

# Dense bfloat16 FLOP/s by a part of `device_kind`, the first that occurs in it.
# Source: NVIDIA's data sheets (halves of the figures given "with sparsity").
PEAK_FLOPS = {
    'A100': 312e12,
    'H100 PCIe': 756e12,
    'H100 NVL': 835e12,
    'H100': 989e12,
    'H200 NVL': 835e12,
    'H200': 989e12,  # GH200 too
    'GB200': 2500e12,
    'B200': 2250e12,
}


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
  kind = devices[0].device_kind
  for name, peak in PEAK_FLOPS.items():
    if name in kind:
      return peak * len(devices)
  return None


def peak_memory() -> int:
  """Returns the most bytes a device has held, or the host where none says."""
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  peak = max(stat.get('peak_bytes_in_use', 0) for stat in stats)
  if peak:
    return peak
  unit = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
