"""The devices on which the Hopper kernels can run, or are a good default.

This module does not import the kernels, whose import takes a while.
"""

import jax

from pallas_kernels import tiles

OPERATION = 'prefix_linear_attention'  # the folder of its tables of tiles


def is_hopper(capability: str | None) -> bool:
  """Whether a device of this compute capability is a Hopper GPU."""
  return str(capability).startswith('9.0')


def unfit() -> str | None:
  """Why the first device cannot run the kernels; None if it can.

  None is also returned if it is not a GPU: there, kernels are compiled for
  virtual GPUs, or interpreted.
  """
  device = jax.devices()[0]
  capability = getattr(device, 'compute_capability', None)
  if capability is None or is_hopper(capability):
    return None
  return (
      'devices must be GPUs of compute capability 9.0 (Hopper), got'
      f' {device.device_kind} of {capability}'
  )


def is_measured(device_kind: str, V: int) -> bool:
  """Whether a benchmark has found the kernels correct there, for V values."""
  table = tiles.load(OPERATION, device_kind)
  return table is not None and f'V{V}' in table.entries


def no_gpu() -> str | None:
  """Why the first device cannot run kernels: it is no GPU; None if it is."""
  device = jax.devices()[0]
  if device.platform == 'gpu':
    return None
  return f'devices must be Hopper GPUs, got {device.device_kind}'


def unproven(V: int) -> str | None:
  """Why the kernels are not a good default here; None if they are."""
  device = jax.devices()[0]
  if reason := no_gpu() or unfit():
    return reason
  if is_measured(device.device_kind, V):
    return None
  return (
      f'it was not measured for V = {V} on {device.device_kind}: name it to use'
      ' it all the same, if python -m pallas_kernels.selfcheck allows it'
  )
