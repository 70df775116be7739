"""Building blocks of the Hopper kernels: the state, and all others by one name.

The other blocks are defined in `mosaic_sm90_registers` and
`mosaic_sm90_features`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention.mosaic_sm90_features import (
    block as block,
    feature_blocks as feature_blocks,
    features_vjp as features_vjp,
    rolled as rolled,
    selection as selection,
    store_features as store_features,
)
from pallas_kernels.prefix_linear_attention.mosaic_sm90_registers import (
    BF16 as BF16,
    broadcast_columns as broadcast_columns,
    broadcast_rows as broadcast_rows,
    CHUNK as CHUNK,
    CONSTANT as CONSTANT,
    D as D,
    F32 as F32,
    first_rows as first_rows,
    first_tokens as first_tokens,
    GRAM_SHAPE as GRAM_SHAPE,
    I32 as I32,
    iota as iota,
    keep_rows as keep_rows,
    load as load,
    load_global as load_global,
    mask_tokens as mask_tokens,
    mma as mma,
    mma_group as mma_group,
    NUM_FEATURES as NUM_FEATURES,
    ones as ones,
    PER_COLUMN as PER_COLUMN,
    PER_ROW as PER_ROW,
    release as release,
    ROWS as ROWS,
    Transposed as Transposed,
    VALUE_TILE as VALUE_TILE,
    zeros as zeros,
)


def zero_state() -> tuple[jax.Array, jax.Array]:
  """The state before any token: float32 [64, 160] and [64, 32] in registers."""
  return zeros((VALUE_TILE, NUM_FEATURES)), zeros(GRAM_SHAPE)


def constant_column() -> jax.Array:
  """float32 [64, 16], which is 1 in the column of the constant feature."""
  return jnp.where(iota((ROWS, D), 1) == CONSTANT - D, F32(1), F32(0))


def gram_corner() -> jax.Array:
  """bool [64, 32]: the part of `gram` that is used."""
  row, column = iota(GRAM_SHAPE, 0), iota(GRAM_SHAPE, 1)
  products = (row < D) | (row == CONSTANT)
  count = (row == CONSTANT) & (column == CONSTANT)
  return (products & (column < D)) | count


def halves(features: Any) -> list[Any]:
  """The first 64 rows of 128 in shared memory, and the others."""
  return [features.at[pl.ds(ROWS * half, ROWS)] for half in range(2)]


def add_keys(
    state: tuple[jax.Array, jax.Array],
    k: Any,
    v: Any,
    features: Sequence[Any],
    selector: Any,
    *,
    counts: Callable[[int], jax.Array] | None,
    emulate: bool,
) -> tuple[jax.Array, jax.Array]:
  """The state after 128 more tokens; all operands have been read on return.

  Args:
    state: float32 [64, 160] and [64, 32], in registers.
    k: bfloat16 [128, 16] in shared memory.
    v: bfloat16 [128, 64] in shared memory.
    features: two of bfloat16 [64, 160] in shared memory, which are overwritten.
    selector: `selection()` in shared memory.
    counts: a function from a half of the tokens to bool [64, 16], rows of the
      tokens to add; None: all.
    emulate: whether this runs in the interpreter.
  """
  for half, (k_half, target) in enumerate(zip(halves(k), features)):
    rows = counts and counts(half)
    write_features(target, k_half, selector, counts=rows, emulate=emulate)
  plgpu.commit_smem()
  return add_features(state, v, features, emulate)


def write_features(
    target: Any, k: Any, selector: Any, *, counts: Any, emulate: bool
) -> None:
  """Writes the features of 64 keys [64, 16] to `target` [64, 160].

  `counts` is bool [64, 16], rows of the keys to use; None: all.
  """
  rolls = rolled(k, selector, emulate).astype(BF16)
  x, constant = load(k), ones()
  if counts is not None:  # products of a zeroed x are 0: rolls need no mask
    x, constant = mask_tokens(x, counts)
  store_features(target, feature_blocks(x, rolls, constant))


def add_features(
    state: tuple[jax.Array, jax.Array],
    v: Any,
    features: Sequence[Any],
    emulate: bool,
) -> tuple[jax.Array, jax.Array]:
  """The state after 128 tokens with given features, see `add_keys`."""
  kv_t, gram = state
  rows, columns = (pl.ds(0, n) for n in GRAM_SHAPE)
  values = zip(map(Transposed, halves(v)), features)
  products = [(Transposed(x.at[:, rows]), x.at[:, columns]) for x in features]
  kv_t, gram = mma_group(
      emulate, (kv_t, kv_t.shape, *values), (gram, GRAM_SHAPE, *products)
  )
  return kv_t, gram


def publish(
    kv_t: jax.Array,
    gram: jax.Array,
    corner: jax.Array,
    kv_t_ref: Any,
    gram_hi_ref: Any,
    gram_lo_ref: Any,
) -> None:
  """Writes a state to shared memory, for wgmma; does not signal a barrier.

  Args:
    kv_t: float32 [64, 160].
    gram: float32 [64, 32].
    corner: `gram_corner()`.
    kv_t_ref: bfloat16 [64, 160].
    gram_hi_ref: bfloat16 [64, 32], the corner rounded.
    gram_lo_ref: the rounding error of `gram_hi_ref`: with a single bfloat16,
      the normaliser would be wrong by the same factor in a whole chunk.
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
