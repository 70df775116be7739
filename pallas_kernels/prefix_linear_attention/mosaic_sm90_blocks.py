"""What the Hopper kernels share, in Pallas Mosaic GPU.

A warpgroup works on 64 tokens at a time. Its arrays lie in registers, in the
layout of wgmma's accumulators, in which slices and concatenations at multiples
of 8 columns cost nothing; gathers, transposes and single columns do not exist.

`emulate` says that the kernel runs in the interpreter. That has no wgmma with
an operand in registers; there, `mma` is a matrix product of ordinary arrays.
The features are those of `roll_features.py`.
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
ROWS = 64  # tokens, or values, of one warpgroup: the height of a wgmma
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
  """Reads global memory into registers; slow, for what is read once."""
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
  """Which of 128 tokens count if those before `limit` do, see `add_keys`."""
  return lambda half: first_rows((ROWS, D), limit - ROWS * half)


def mask_tokens(x: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
  """x [64, 16] and the constant, 0 outside of `rows`, bool [64, 16].

  x and the constant are factors of every feature, which thus vanishes.
  """
  constant = jnp.where(rows, F32(1), F32(0)).astype(BF16)
  return jnp.where(rows, x, BF16(0)), constant


def keep_rows(x: jax.Array, rows: jax.Array | None) -> jax.Array:
  """float32 [64, 16], 0 outside of `rows`; None: as it is."""
  return x if rows is None else jnp.where(rows, x, F32(0))


# Tensor cores.


class Transposed(NamedTuple):
  """An operand in shared memory, to be read transposed."""

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
    init: float32 of that shape, or None for zeros.
    shape: of the result; 64 rows.
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
  # Nothing else keeps LLVM from reading the accumulator before the wait.
  return lax.optimization_barrier(total)


def release(barrier: Any, emulate: bool) -> None:
  """Hands a buffer back that `mma` has read, by an arrival.

  wgmma reads through the proxy that TMA writes through; the emulation reads as
  threads do, and needs the fence. What threads did load has been used by then.
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


# Features.


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
    square: factor of the squares, 1/2 on the side of the query.
    factor: what the products multiply x with, x if left out; where x has been
      scaled token by token and `factor` has not, features are scaled once.
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

  Every store costs two barriers of the warpgroup, so that one block at a time
  would be slow; two pieces need fewer registers than one.
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
    cotangent: of the features; maps a first column and a number of columns to
      float32 [64, number]. Called so that few are alive at a time.
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


# State.


def zero_state() -> tuple[jax.Array, jax.Array]:
  """Of nothing: float32 [64, 160] and [64, 32], in registers."""
  return zeros((VALUE_TILE, NUM_FEATURES)), zeros(GRAM_SHAPE)


def constant_column() -> jax.Array:
  """float32 [64, 16], 1 in the column of the constant, inside its block."""
  return jnp.where(iota((ROWS, D), 1) == CONSTANT - D, F32(1), F32(0))


def gram_corner() -> jax.Array:
  """bool [64, 32]: what of `gram` counts."""
  row, column = iota(GRAM_SHAPE, 0), iota(GRAM_SHAPE, 1)
  products = (row < D) | (row == CONSTANT)
  count = (row == CONSTANT) & (column == CONSTANT)
  return (products & (column < D)) | count


def add_keys(
    state: tuple[jax.Array, jax.Array],
    k: Any,
    v: Any,
    features: Any,
    selector: Any,
    *,
    counts: Callable[[int], jax.Array] | None,
    emulate: bool,
) -> tuple[jax.Array, jax.Array]:
  """The state after 128 more tokens; everything has been read on return.

  Args:
    state: float32 [64, 160] and [64, 32], in registers.
    k: bfloat16 [128, 16] in shared memory.
    v: bfloat16 [128, 64] in shared memory.
    features: bfloat16 [128, 160] in shared memory, which is overwritten.
    selector: `selection()` in shared memory.
    counts: maps a half of the tokens to bool [64, 16], rows of those that
      count; None if all do.
    emulate: whether this runs in the interpreter.
  """
  kv_t, gram = state
  for half in range(CHUNK // ROWS):
    rows = pl.ds(ROWS * half, ROWS)
    rolls = rolled(k.at[rows], selector, emulate).astype(BF16)
    x, constant = load(k.at[rows]), ones()
    if counts is not None:  # products vanish with x: rolls need no mask
      x, constant = mask_tokens(x, counts(half))
    store_features(features.at[rows], feature_blocks(x, rolls, constant))
  plgpu.commit_smem()
  kv_t = mma(emulate, kv_t, kv_t.shape, (Transposed(v), features))
  left, right = (features.at[:, pl.ds(0, n)] for n in GRAM_SHAPE)
  gram = mma(emulate, gram, GRAM_SHAPE, (Transposed(left), right))
  return kv_t, gram


def publish(
    kv_t: jax.Array,
    gram: jax.Array,
    corner: jax.Array,
    kv_t_ref: Any,
    gram_hi_ref: Any,
    gram_lo_ref: Any,
) -> None:
  """Writes a state to shared memory, for wgmma; does not tell anybody.

  Args:
    kv_t: float32 [64, 160].
    gram: float32 [64, 32].
    corner: `gram_corner()`.
    kv_t_ref: bfloat16 [64, 160].
    gram_hi_ref: bfloat16 [64, 32], the corner rounded.
    gram_lo_ref: the same of what rounding left: a normaliser in one bfloat16
      would be wrong by the same factor in a whole chunk.
  """
  kv_t_ref[...] = kv_t.astype(BF16)
  gram = jnp.where(corner, gram, F32(0))
  hi = gram.astype(BF16)
  gram_hi_ref[...] = hi
  gram_lo_ref[...] = (gram - hi.astype(F32)).astype(BF16)
  plgpu.commit_smem()


def gram_product(
    x: jax.Array, gram_hi: Any, gram_lo: Any, emulate: bool
) -> jax.Array:
  """[x, constant column] @ gram[:32]: float32 [64, 32].

  Args:
    x: bfloat16 [64, 16].
    gram_hi: bfloat16 [64, 32] in shared memory, as `publish` wrote it.
    gram_lo: the same.
    emulate: whether this runs in the interpreter.
  """
  extended = jnp.concatenate([x, constant_column().astype(BF16)], axis=1)
  top = pl.ds(0, GRAM_SHAPE[1])
  return mma(
      emulate,
      None,
      (ROWS, GRAM_SHAPE[1]),
      (extended, gram_hi.at[top]),
      (extended, gram_lo.at[top]),
  )
