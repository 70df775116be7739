"""Features of the GPU kernels: `taylor_exp` for D = 16, in 160 columns.

With s = q·k / 4, φ_q(q) · φ_k(k) = 1 + s + s²/2. Every product x_a x_b occurs
once, as x times a copy of x that is rolled inside each group of 8 columns. The
tensor cores make such copies, and exchanging the two groups only renames
registers. All weights are powers of two and belong to the query, so that only
the products are rounded. There are ten blocks of 16 columns. For queries, x is
q / 4. R_r is the copy rolled by r, swap(R) has its groups exchanged, and
x = [lo, hi]:

    block     columns               contents
    0         0-15                  x
    1         16-31                 x R_4 where column & 4 is 0; the constant 1
                                    in column 20; else 0
    2         32-47                 x x, halved for queries
    3         48-63                 lo hi, lo R_4(hi)
    4, 6, 8   64-, 96-, 128-        x R_1, x R_2, x R_3
    5, 7, 9   80-, 112-, 144-       x swap(R_1), x swap(R_2), x swap(R_3)

The kernels keep two float32 arrays instead of a `State`:

    kv_t [B, H, V, 160]   the sum of v φ_k(k)ᵀ gram [B, H, 64, 32]   the sum of
    φ_k(k)[:64] φ_k(k)[:32]ᵀ; only its corner is
                          used: columns and rows below 16 are the sum of k kᵀ,
                          row 20 is the sum of kᵀ, and (20, 20) is the count
"""

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.prefix_linear_attention.inputs import State

D = 16  # the only width of queries and keys
NUM_FEATURES = 160
CONSTANT = 20  # the column of the constant
GRAM_SHAPE = 64, 32


def features(x: jax.Array, *, query: bool) -> jax.Array:
  """Maps [..., 16] to φ_q or φ_k, [..., 160] in the dtype of `x`."""
  if query:
    x = x / 4
  halves = x.reshape(*x.shape[:-1], 2, 8)
  rolled = [jnp.roll(halves, -r, axis=-1).reshape(x.shape) for r in range(1, 5)]
  lo, hi, hi4 = x[..., :8], x[..., 8:], rolled[3][..., 8:]
  column = np.arange(D)
  half_turn = jnp.where(column & 4, 0, x * rolled[3])
  blocks = [
      x,
      jnp.where(column == CONSTANT - D, 1, half_turn),
      x * x / (2 if query else 1),
      lo * hi,
      lo * hi4,
  ]
  for roll in rolled[:3]:
    blocks += [x * roll, x * jnp.roll(roll, 8, axis=-1)]
  return jnp.concatenate(blocks, axis=-1).astype(x.dtype)


def pack_state(state: State) -> tuple[jax.Array, jax.Array]:
  """Converts the public state to the form of the kernels; linear.

  Args:
    state: kv [B, H, 153, V] and k [B, H, 153] of `taylor_features`, D = 16.

  Returns:
    kv_t [B, H, V, 160] and gram [B, H, 64, 32], 0 in unused elements.
  """
  kv = jnp.swapaxes(state.kv, -1, -2)[..., _PUBLIC_OF_COLUMN]
  gram = state.k[..., _PUBLIC_OF_GRAM]
  return (
      kv * _WEIGHT_OF_COLUMN.astype(kv.dtype),
      gram * _WEIGHT_OF_GRAM.astype(gram.dtype),
  )


def zero_packed_state(B: int, H: int, V: int) -> tuple[jax.Array, jax.Array]:
  """The packed state before the first token."""
  return (
      jnp.zeros((B, H, V, NUM_FEATURES), jnp.float32),
      jnp.zeros((B, H, *GRAM_SHAPE), jnp.float32),
  )


def unpack_state(kv_t: jax.Array, gram: jax.Array, V: int) -> State:
  """The inverse of `pack_state`, without rows of `kv_t` from V on; linear.

  Entries (a, b) and (b, a) of `gram` are read with weight 1/2 each, so that the
  cotangent of the sum of k kᵀ is symmetric.
  """
  weight = _PUBLIC_WEIGHT.astype(kv_t.dtype)
  kv = kv_t[..., :V, _COLUMN_OF_PUBLIC] * weight
  k = (gram[..., *_GRAM_OF_PUBLIC] + gram[..., *_MIRRORED_GRAM_OF_PUBLIC]) / 2
  return State(jnp.swapaxes(kv, -1, -2), k * weight)


def public_features(D: int) -> tuple[list[tuple[int, ...]], np.ndarray]:
  """The features of `taylor_features`, in its order, for an even D.

  Returns:
    The columns whose product each feature is, in order, and its factor,
    float64 [F].
  """
  table = [((), 1.0)] + [((a,), D**-0.25) for a in range(D)]
  table += [((a, a), (0.5 / D) ** 0.5) for a in range(D)]
  for r in range(1, D // 2):
    table += [((a, (a - r) % D), D**-0.5) for a in range(D)]
  table += [((a, a + D // 2), D**-0.5) for a in range(D // 2)]
  products, weights = zip(*table)
  return [tuple(sorted(x)) for x in products], np.array(weights)


def _rolled(a, r):
  return (a & 8) | ((a + r) & 7)


def _columns():
  """The product in each column, as factors in order; None if there is none."""
  table = [(a,) for a in range(D)]
  table += [None if a & 4 else (a, _rolled(a, 4)) for a in range(D)]
  table[CONSTANT] = ()
  table += [(a, a) for a in range(D)]
  table += [(a, 8 + a) for a in range(8)]
  table += [(a, _rolled(8 + a, 4)) for a in range(8)]
  for r in (1, 2, 3):
    table += [(a, _rolled(a, r)) for a in range(D)]
    table += [(a, _rolled(a, r) ^ 8) for a in range(D)]
  return [x and tuple(sorted(x)) for x in table]


def _gram_entry(product):
  """The position of a product in `gram`; of two, the one above the diagonal."""
  return (CONSTANT,) * (2 - len(product)) + product


def _index(products):
  """Indices of public features and 1 / weights; 0 and 0 for None."""
  public = [_PUBLIC.index(x) if x is not None else 0 for x in products]
  used = [x is not None for x in products]
  return np.array(public, np.int32), used / _PUBLIC_WEIGHT[public]


def _gram_index():
  products = dict.fromkeys(np.ndindex(*GRAM_SHAPE))
  for product in _PUBLIC:
    row, column = _gram_entry(product)
    products[row, column] = product
    if len(product) == 2:
      products[column, row] = product
  index, weight = _index(products.values())
  return index.reshape(GRAM_SHAPE), weight.reshape(GRAM_SHAPE)


# Indices are int32: jax 0.11 caches constants of a trace by identity, and
# treats int64 ones as int32 if 64-bit types were off when it first saw them.
_PUBLIC, _PUBLIC_WEIGHT = public_features(D)
_PUBLIC_OF_COLUMN, _WEIGHT_OF_COLUMN = _index(_columns())
_PUBLIC_OF_GRAM, _WEIGHT_OF_GRAM = _gram_index()
_COLUMN_OF_PUBLIC = np.int32([_columns().index(x) for x in _PUBLIC])
_GRAM_OF_PUBLIC = tuple(np.int32([_gram_entry(x) for x in _PUBLIC]).T)
# Only products of two factors have a second position.
_MIRRORED_GRAM_OF_PUBLIC = tuple(
    np.int32([_gram_entry(x)[:: -1 if len(x) == 2 else 1] for x in _PUBLIC]).T
)
