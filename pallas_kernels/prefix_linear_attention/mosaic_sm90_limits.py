"""Limits of a program on Hopper, checked before anything is compiled."""

from collections.abc import Mapping
import math
from typing import Any

from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp
import numpy as np

from pallas_kernels.prefix_linear_attention import roll_features
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK

REGISTERS = 512  # sum over warpgroups of a thread's registers: 65,536 / 128
SHARED_MEMORY = 232_448  # the most bytes of a block on sm_90

_ALIGNMENT = 1024  # bytes, for every buffer in shared memory
_REDUCTION_SCRATCH = 2048  # bytes that Mosaic GPU reserves for reductions


def shared_memory_bytes(scratch: Mapping[str, Any]) -> int:
  """Returns the bytes of shared memory of all buffers and barriers."""
  total = _REDUCTION_SCRATCH
  for x in scratch.values():
    if isinstance(x, plgpu.Barrier):
      total += 8 * math.prod(np.atleast_1d(x.num_barriers).tolist())
    else:
      size = math.prod(x.shape) * jnp.dtype(x.dtype).itemsize
      total += -(-size // _ALIGNMENT) * _ALIGNMENT
  return total


def check_shared_memory(scratch: Mapping[str, Any]) -> None:
  """Raises ValueError if the buffers do not fit in shared memory."""
  size = shared_memory_bytes(scratch)
  if size > SHARED_MEMORY:
    raise ValueError(
        f'shared memory must be at most {SHARED_MEMORY} bytes, got {size}'
    )


def check_registers(producer: int, state: int, rows: int) -> None:
  """Raises ValueError unless four warpgroups can have this many registers.

  A thread starts with 128; the producer gives some of them to the others.
  """
  for name, count, least, most in (
      ('producer', producer, 24, 128),
      ('state', state, 128, 256),
      ('rows', rows, 128, 256),
  ):
    if count % 8 or not least <= count <= most:
      raise ValueError(
          f'registers of {name} must be a multiple of 8 from {least} to {most},'
          f' got {count}'
      )
  total = producer + state + 2 * rows
  if total > REGISTERS:
    raise ValueError(
        'registers of producer, state and both row warpgroups must be at most'
        f' {REGISTERS} in sum, got {total}'
    )


def check_sizes(*, L: int, P: int, D: int, V: int) -> None:
  """Raises ValueError unless the kernels can divide these sizes."""
  for name, size, unit in (('L', L, CHUNK), ('P', P, CHUNK), ('V', V, 16)):
    if size % unit:
      raise ValueError(f'{name} must be a multiple of {unit}, got {size}')
  if D != roll_features.D:
    raise ValueError(f'D must be {roll_features.D}, got {D}')
