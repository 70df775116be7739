"""Asks CUDA's driver which GPUs it shows, where nvidia-smi does not say.

A program of its own, which needs no other module of this package: so the driver
stays out of the process that will open the devices, and is ended if it hangs.
Prints a line for each GPU, or part of one (MIG): name, compute capability and
version of the driver. Nothing if it cannot be asked.

Source: the driver API of CUDA, https://docs.nvidia.com/cuda/cuda-driver-api.
"""

from collections.abc import Iterator
import contextlib
import ctypes
import pathlib
from typing import Any

_CAPABILITY = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, and _MINOR
_LONGEST_NAME = 256

_VERSION = pathlib.Path('/sys/module/nvidia/version')


def lines(cuda: Any) -> Iterator[str]:
  """Yields what is printed.

  Args:
    cuda: the library of the driver, as ctypes loads it.

  Raises:
    OSError: the driver refuses a call.
  """

  def call(name, *arguments):
    if error := getattr(cuda, name)(*arguments):
      raise OSError(f'{name} ended with error {error}')

  def number(name, *arguments):
    result = ctypes.c_int()
    call(name, ctypes.byref(result), *arguments)
    return result.value

  call('cuInit', 0)
  driver = _version(number('cuDriverGetVersion'))
  for place in range(number('cuDeviceGetCount')):
    device = number('cuDeviceGet', place)
    name = ctypes.create_string_buffer(_LONGEST_NAME)
    call('cuDeviceGetName', name, _LONGEST_NAME, device)
    major, minor = (
        number('cuDeviceGetAttribute', attribute, device)
        for attribute in _CAPABILITY
    )
    yield f'{name.value.decode()}, {major}.{minor}, {driver}'


def _version(cuda):
  """That of the kernel's module; else the version of CUDA that it supports."""
  with contextlib.suppress(OSError):
    return _VERSION.read_text().strip()
  return f'{cuda // 1000}.{cuda % 1000 // 10}'


if __name__ == '__main__':
  with contextlib.suppress(OSError):
    print('\n'.join(lines(ctypes.CDLL('libcuda.so.1'))))
