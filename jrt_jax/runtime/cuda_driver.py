"""Asks the CUDA driver which GPUs there are, for when nvidia-smi does not tell.

This is a separate program without imports from this package, so that the driver
is not loaded in the process that will open the devices, and can be stopped if
it hangs. It prints a line for each GPU or part of a GPU (MIG): its name,
compute capability and driver version. It prints nothing if there is no driver.

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
  """Yields the lines to print.

  Args:
    cuda: the driver library, loaded by ctypes.

  Raises:
    OSError: a call to the driver failed.
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
  """The version of the kernel module, or else of CUDA that it supports."""
  with contextlib.suppress(OSError):
    return _VERSION.read_text().strip()
  return f'{cuda // 1000}.{cuda % 1000 // 10}'


if __name__ == '__main__':
  with contextlib.suppress(OSError):
    print('\n'.join(lines(ctypes.CDLL('libcuda.so.1'))))
