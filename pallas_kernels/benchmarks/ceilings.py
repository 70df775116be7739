"""The highest speed of the device: for copying, and for matrix products."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from pallas_kernels.benchmarks import inputs as inputs_lib
from pallas_kernels.benchmarks import roofline
from pallas_kernels.benchmarks import timing
from pallas_kernels.benchmarks.case import Case
from pallas_kernels.benchmarks.case import Settings


def cases(settings: Settings) -> list[Case]:
  """Rows have a 'unit', and the number of units 'per_second'."""
  rows = 64 if settings.rehearse else 1 << 14
  side = 64 if settings.rehearse else 8192
  return [
      Case('copy bfloat16', functools.partial(copy, rows, jnp.bfloat16)),
      Case('copy float32', functools.partial(copy, rows, jnp.float32)),
      Case(f'matmul {side}³ bfloat16', functools.partial(matmul, side)),
  ]


def copy(rows: int, dtype: Any) -> dict[str, Any]:
  """Negates an array of 2¹⁶ columns: as many bytes are read as written."""
  shape = rows, 1 << 16
  arrays = inputs_lib.normal((('x', shape),), 0)
  x = jax.block_until_ready(arrays['x'].astype(dtype))
  row = timing.measure(
      lambda x: -x,
      x,
      expected_ms=1e3 * 2 * x.nbytes / roofline.NOMINAL['bytes_per_second'],
  )
  return _per_second(row, 'bytes', 2 * x.nbytes)


def matmul(side: int) -> dict[str, Any]:
  """A product of square matrices of random numbers: zeros would be faster."""
  arrays = inputs_lib.normal((('a', (side, side)), ('b', (side, side))), 0)
  flops = 2 * side**3
  row = timing.measure(
      lambda arrays: arrays['a'] @ arrays['b'],
      arrays,
      expected_ms=1e3 * flops / roofline.NOMINAL['flops_per_second'],
  )
  return _per_second(row, 'flops', flops)


def _per_second(row, unit, count):
  return row | {'unit': unit, 'per_second': 1e3 * count / row['ms']}
