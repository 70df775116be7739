"""The hardware and the versions of packages."""

from collections.abc import Iterable
import importlib.metadata
import platform
import shutil
import subprocess
from typing import Any

import jax

from pallas_kernels.prefix_linear_attention import mosaic_sm90_devices

_LEAST_JAX = 0, 11, 2  # the kernels need this version
_PACKAGES = 'jax', 'jaxlib', 'numpy', 'torch', 'triton'


def describe() -> dict[str, Any]:
  """The first device of jax, and the versions of installed packages."""
  device = jax.devices()[0]
  return {
      'device': device.device_kind,
      'platform': device.platform,
      'devices': jax.device_count(),
      'compute_capability': getattr(device, 'compute_capability', None),
      'driver': _driver(),
      'python': platform.python_version(),
      'versions': versions(_PACKAGES),
  }


def versions(packages: Iterable[str]) -> dict[str, str]:
  """Returns the versions of the packages that are installed."""
  return {name: v for name in packages if (v := _version(name))}


def unfit(machine: dict[str, Any]) -> str | None:
  """Why the kernels cannot run on a machine; None if they can."""
  if machine['platform'] != 'gpu':
    return 'jax finds no GPU'
  if not mosaic_sm90_devices.is_hopper(machine['compute_capability']):
    return f'{machine["device"]} is no Hopper GPU'
  if jax.__version_info__ < _LEAST_JAX:
    return f'jax must be 0.11.2 or newer, got {jax.__version__}'
  return None


def _version(package):
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _driver():
  """Name, driver and memory of each GPU, from nvidia-smi."""
  if not shutil.which('nvidia-smi'):
    return None
  query = '--query-gpu=name,driver_version,memory.total'
  process = subprocess.run(
      ['nvidia-smi', query, '--format=csv,noheader'],
      capture_output=True,
      text=True,
      timeout=30,
  )
  return process.stdout.strip() or process.stderr.strip()
