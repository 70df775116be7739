"""The features of `roll_features.py` in the Hopper kernels, for 64 tokens.

They are ten blocks of 16 columns: products of x with rolled copies of x. The
tensor cores roll x, by multiplying it with a matrix that selects columns.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import pallas as pl
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention.mosaic_sm90_registers import BF16
from pallas_kernels.prefix_linear_attention.mosaic_sm90_registers import CONSTANT
from pallas_kernels.prefix_linear_attention.mosaic_sm90_registers import D
from pallas_kernels.prefix_linear_attention.mosaic_sm90_registers import F32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_registers import iota
from pallas_kernels.prefix_linear_attention.mosaic_sm90_registers import mma
from pallas_kernels.prefix_linear_attention.mosaic_sm90_registers import ROWS
from pallas_kernels.prefix_linear_attention.mosaic_sm90_registers import Transposed


def selection(scale: float = 1.0) -> jax.Array:
  """Eᵀ, bfloat16 [64, 16], such that x E is [x rolled by 1, 2, 3, 4].

  y Eᵀ, for y of 4 such blocks, rolls each of them back and adds them up.
  """
  row, column = iota((ROWS, D), 0), iota((ROWS, D), 1)
  target, roll = row & 15, (row >> 4) + 1
  source = (target & 8) | ((target + roll) & 7)
  return jnp.where(source == column, F32(scale), F32(0)).astype(BF16)


def rolled(x: Any, selector: Any, emulate: bool) -> jax.Array:
  """x [64, 16] to x E, float32 [64, 64]; x and Eᵀ are in shared memory."""
  return mma(emulate, None, (ROWS, 4 * D), (x, Transposed(selector)))


def swap(x: jax.Array) -> jax.Array:
  """[64, 16] with its two groups of 8 columns exchanged."""
  return jnp.concatenate([x[:, 8:], x[:, :8]], axis=1)


def block(x: jax.Array, i: int) -> jax.Array:
  """Columns 16 i to 16 i + 16."""
  return x[:, D * i : D * (i + 1)]


def feature_blocks(
    x: jax.Array,
    rolls: jax.Array,
    constant: jax.Array,
    *,
    square: float = 1.0,
    factor: jax.Array | None = None,
) -> list[jax.Array]:
  """The ten blocks of features of 64 tokens, bfloat16 [64, 16] each.

  Args:
    x: bfloat16 [64, 16]: keys, or queries / 4.
    rolls: bfloat16 [64, 64], `factor` rolled by 1 to 4.
    constant: bfloat16 [64, 16], the constant feature of each token.
    square: the factor of the squares, 1/2 for queries.
    factor: the second factor of the products; default x. If x is scaled by
      token and `factor` is not, features are scaled once.
  """
  factor = x if factor is None else factor
  r1, r2, r3, r4 = (block(rolls, i) for i in range(4))
  column = iota((ROWS, D), 1)
  half_turn = jnp.where(
      (column & 4) == 0,
      x * r4,
      jnp.where(column == CONSTANT - D, constant, BF16(0)),
  )
  squares = x * factor if square == 1 else (x * BF16(square)) * factor
  lo, hi, hi4 = x[:, :8], factor[:, 8:], r4[:, 8:]
  crossed = jnp.concatenate([lo * hi, lo * hi4], axis=1)
  blocks = [x, half_turn, squares, crossed]
  for roll in (r1, r2, r3):
    blocks += [x * roll, x * swap(roll)]
  return blocks


def store_features(ref: Any, blocks: list[jax.Array]) -> None:
  """Writes ten blocks to `ref` [64, 160] in shared memory.

  Every store costs two barriers of the warpgroup, so that storing single blocks
  would be slow. Two pieces need fewer registers than one.
  """
  ref[:, pl.ds(0, 6 * D)] = jnp.concatenate(blocks[:6], axis=1)
  ref[:, pl.ds(6 * D, 4 * D)] = jnp.concatenate(blocks[6:], axis=1)


def features_vjp(
    cotangent: Callable[[int, int], jax.Array],
    x: jax.Array,
    rolls: jax.Array,
    square: float,
) -> tuple[jax.Array, jax.Array]:
  """The transposed Jacobian of `feature_blocks`, without its last roll back.

  Args:
    cotangent: a function from a first column and a number of columns to the
      cotangent of these features, float32 [64, number]. Few columns are in
      registers at a time.
    x: float32 [64, 16].
    rolls: float32 [64, 64], x rolled by 1 to 4.
    square: the factor of x in the derivative of the squares: 2 for keys, 1 for
      queries.

  Returns:
    float32 [64, 16] and bfloat16 [64, 64]; the cotangent of x is the first plus
    the second times Eᵀ, see `selection`.
  """
  r1, r2, r3, r4 = (block(rolls, i) for i in range(4))
  lo, hi, hi4 = x[:, :8], x[:, 8:], r4[:, 8:]
  phi = cotangent(0, 4 * D)
  half_turn = jnp.where((iota((ROWS, D), 1) & 4) == 0, block(phi, 1), F32(0))
  crossed, crossed4 = phi[:, 48:56], phi[:, 56:64]
  dx = block(phi, 0) + half_turn * r4 + block(phi, 2) * x * F32(square)
  dx += jnp.concatenate([crossed * hi + crossed4 * hi4, crossed * lo], axis=1)
  zeros_and_crossed = jnp.concatenate(
      [jnp.zeros_like(lo), crossed4 * lo], axis=1
  )
  back4 = (half_turn * x + zeros_and_crossed).astype(BF16)
  back = []
  for start, rolls_of_group in ((64, (r1, r2)), (128, (r3,))):
    phi = cotangent(start, 2 * D * len(rolls_of_group))
    for i, roll in enumerate(rolls_of_group):
      same, swapped = block(phi, 2 * i), block(phi, 2 * i + 1)
      dx += same * roll + swapped * swap(roll)
      back.append((same * x + swap(swapped * x)).astype(BF16))
  return dx, jnp.concatenate([*back, back4], axis=1)
