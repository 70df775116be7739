"""Checks of what is given to an operation."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def check_array(
    name: str, x: jax.Array, shape: Sequence[int | str], dtype: Any = None
) -> None:
  """Raises ValueError unless `x` has the shape, in which letters are any sizes.

  Without a `dtype`, the dtype must be one in which the operation computes.
  float64 is for tests only, and messages do not mention it.
  """
  wanted = ', '.join(map(str, shape))
  if not hasattr(x, 'shape'):
    raise ValueError(f'{name} must be an array [{wanted}], got {x!r}')
  fits = len(shape) == x.ndim and all(
      isinstance(n, str) or n == m for n, m in zip(shape, x.shape)
  )
  if not fits:
    raise ValueError(f'{name} must have shape [{wanted}], got {[*x.shape]}')
  if dtype is None and x.dtype not in (jnp.bfloat16, jnp.float32, jnp.float64):
    raise ValueError(f'{name} must be bfloat16 or float32, got {x.dtype}')
  if dtype is not None and x.dtype != dtype:
    raise ValueError(f'{name} must be {jnp.dtype(dtype)}, got {x.dtype}')
