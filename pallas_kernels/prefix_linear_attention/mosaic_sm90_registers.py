"""Registers and tensor cores of the Hopper kernels, in Pallas Mosaic GPU.

A warpgroup works on 64 tokens at a time. Its arrays are in registers, in the
layout of wgmma's accumulators. In this layout, slices and concatenations at
multiples of 8 columns cost nothing; gathers, transposes and single columns are
not available.

`emulate` means that the kernel runs in the interpreter, which has no wgmma with
an operand in registers: there, `mma` is a product of ordinary arrays.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import roll_features

D = roll_features.D
NUM_FEATURES = roll_features.NUM_FEATURES
CONSTANT = roll_features.CONSTANT
GRAM_SHAPE = roll_features.GRAM_SHAPE
CHUNK = 128  # tokens between two published states
ROWS = 64  # tokens (or values) of one warpgroup: the height of a wgmma
VALUE_TILE = 64  # values of one program

BF16, F32, I32 = jnp.bfloat16, jnp.float32, jnp.int32
LAYOUT = plgpu.Layout.WGMMA
PER_ROW = LAYOUT.reduce(1)  # the layout of one value for each row
PER_COLUMN = LAYOUT.reduce(0)


# Registers.


def load(ref: Any, layout: Any = LAYOUT) -> jax.Array:
  """Reads shared memory into registers."""
  return plgpu.load(ref, layout=layout)


def load_global(ref: Any) -> jax.Array:
  """Reads global memory into registers; slow, only for single reads."""
  return plgpu.load(ref, layout=LAYOUT, optimized=False)


def iota(shape: tuple[int, int], axis: int) -> jax.Array:
  """int32: the row (axis 0) or the column (1) of each element."""
  return plgpu.broadcasted_iota(I32, shape, axis, layout=LAYOUT)


def zeros(shape: tuple[int, int]) -> jax.Array:
  """float32 zeros."""
  return plgpu.layout_cast(jnp.zeros(shape, F32), LAYOUT)


def ones() -> jax.Array:
  """The constant feature of 64 tokens: bfloat16 [64, 16], all 1."""
  return plgpu.layout_cast(jnp.full((ROWS, D), 1, BF16), LAYOUT)


def broadcast_rows(x: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """One value for each row, `PER_ROW`, in all columns."""
  return lax.broadcast_in_dim(x, shape, [0])


def broadcast_columns(x: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """One value for each column, `PER_COLUMN`, in all rows."""
  return lax.broadcast_in_dim(x, shape, [1])


def first_rows(shape: tuple[int, int], limit: jax.Array) -> jax.Array:
  """bool: True in rows before `limit`, which may be negative or beyond."""
  return iota(shape, 0) < limit


def first_tokens(limit: jax.Array) -> Callable[[int], jax.Array]:
  """Selects the tokens before `limit`, of 128; see `counts` of `add_keys`."""
  return lambda half: first_rows((ROWS, D), limit - ROWS * half)


def mask_tokens(x: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
  """x [64, 16] and the constant, 0 outside of `rows`, bool [64, 16].

  x or the constant is a factor of every feature, so that all features are 0.
  """
  constant = jnp.where(rows, F32(1), F32(0)).astype(BF16)
  return jnp.where(rows, x, BF16(0)), constant


def keep_rows(x: jax.Array, rows: jax.Array | None) -> jax.Array:
  """float32 [64, 16], 0 outside of `rows`; None: unchanged."""
  return x if rows is None else jnp.where(rows, x, F32(0))


# Tensor cores.


class Transposed(NamedTuple):
  """An operand in shared memory that is read transposed."""

  ref: Any


def mma(
    emulate: bool,
    init: jax.Array | None,
    shape: tuple[int, int],
    *products: tuple[Any, Any],
) -> jax.Array:
  """Returns init + the sum of a @ b over the products (a, b), float32.

  Args:
    emulate: whether this runs in the interpreter.
    init: float32 of this shape, or None for zeros.
    shape: the shape of the result, which has 64 rows.
    *products: a is bfloat16 in shared memory (a ref, or `Transposed`) or in
      registers; b is in shared memory.
  """
  if emulate:
    total = zeros(shape) if init is None else init
    for a, b in products:
      total += lax.dot(_value(a), _value(b), preferred_element_type=F32)
    return total

  def accumulate(total):
    for a, b in products:
      plgpu.wgmma(total, _operand(a), _operand(b))
    return total[...] if init is None else None

  if init is None:
    total = pl.run_scoped(accumulate, plgpu.ACC(shape, F32))
  else:
    total = pl.run_state(accumulate)(plgpu.ACC.init(init))
  # Without this, LLVM could read the accumulator before the wait.
  return lax.optimization_barrier(total)


def mma_group(
    emulate: bool,
    *sums: tuple[jax.Array | None, tuple[int, int], tuple[Any, Any]],
) -> list[jax.Array]:
  """Returns several sums like that of `mma`, with one wait for all of them.

  Args:
    emulate: whether this runs in the interpreter.
    *sums: init, shape and products of each sum, as for `mma`; they must be
      independent.
  """
  if emulate:
    return [mma(emulate, *x) for x in sums]
  new = [x for x in sums if x[0] is None]
  old = [x for x in sums if x[0] is not None]

  def run(*totals):
    _multiply(totals, new)
    of_old = ()
    if old:
      starts = tuple(plgpu.ACC.init(init) for init, *_ in old)
      of_old = pl.run_state(lambda refs: _multiply(refs, old))(starts)
    return [total[...] for total in totals], of_old

  accumulators = [plgpu.ACC(shape, F32) for _, shape, *_ in new]
  results = pl.run_scoped(run, *accumulators)
  # Without this, LLVM could read the accumulators before the wait.
  of_new, of_old = map(iter, lax.optimization_barrier(results))
  return [next(of_new if x[0] is None else of_old) for x in sums]


def _multiply(totals, sums):
  """Adds the products of each of the sums to its accumulator."""
  for total, (_, _, *products) in zip(totals, sums):
    for a, b in products:
      plgpu.wgmma(total, _operand(a), _operand(b))


def release(barrier: Any, emulate: bool) -> None:
  """Arrives at a barrier, to release a buffer that `mma` has read.

  wgmma reads through the same proxy through which TMA writes. The emulation
  reads like threads, and so needs the fence.
  """
  if emulate:
    plgpu.commit_smem()
  plgpu.barrier_arrive(barrier)


def _value(operand):
  if isinstance(operand, Transposed):
    return operand.ref[...].T
  return operand if isinstance(operand, jax.Array) else operand[...]


def _operand(operand):
  if isinstance(operand, Transposed):
    return operand.ref.transpose((1, 0))
  return operand
