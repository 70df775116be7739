"""The algebra of the Hopper kernels in plain jnp: their documentation and test.

`forward` and `backward` have the arguments of the kernels and do the same
steps, chunk by chunk, in any float dtype and without regard to speed. With x' =
q / 4 and s = x'·k, the weight of a pair is 1 + s + s²/2 = φ_q(q)·φ_k(k);
`roll_features` describes the order of the 160 columns of φ. The state is

    kv_t = Σ v φ_k(k)ᵀ        [V, 160]
    gram = Σ φ_k(k) φ_k(k)ᵀ   [64, 32], the first columns only

Of earlier chunks, the normaliser needs only `gram`: its `corner` contains
Σ [k; 1] [k; 1]ᵀ, because the linear features come first and the constant one is
column 20. Then z = z_chunk + n + z1·x' + x'ᵀ Z2 x' / 2 with n = Σ 1, z1 = Σ k
and Z2 = Σ k kᵀ.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.prefix_linear_attention import roll_features
from pallas_kernels.prefix_linear_attention.roll_features import CONSTANT

CHUNK = 128

_SQUARE = np.s_[..., :16, :16]


def corner(gram: jax.Array) -> jax.Array:
  """Zeroes [..., 64, 32] except Σ k kᵀ, Σ k in row 20, and the count."""
  row, col = np.ogrid[:64, :32]
  keys = ((row < 16) | (row == CONSTANT)) & (col < 16)
  count = (row == CONSTANT) & (col == CONSTANT)
  return jnp.where(keys | count, gram, 0)


def moments_from_dgram(dgram: jax.Array) -> jax.Array:
  """Turns the cotangent of the returned `gram` into first moments of δ.

  The moments M = Σ δ [x'; 1] [x'; 1]ᵀ give the contribution of the normaliser
  to dk, which is -(m1 + M2 k). In it, the cotangent G of k kᵀ becomes G + Gᵀ.
  """
  return -dgram.at[_SQUARE].add(dgram[_SQUARE].mT)


def dgram_from_moments(moments: jax.Array) -> jax.Array:
  """The inverse of `moments_from_dgram`, for a symmetric cotangent.

  Only the symmetric part of a cotangent of k kᵀ matters.
  """
  return corner(-moments.at[_SQUARE].multiply(0.5))


def forward(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    k_enc: jax.Array | None,
    v_enc: jax.Array | None,
    prefix_len: jax.Array | None,
    kv_t: jax.Array,
    gram: jax.Array,
    *,
    length: int | None = None,
    chunk: int = CHUNK,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Computes outputs and the final state.

  Args:
    q, k: [B, L, H, 16]; L and P are multiples of `chunk`.
    v: [B, L, H, V].
    k_enc, v_enc: [B, P, H, 16] and [B, P, H, V], or None without a prefix.
    prefix_len: int32 [B], or None without a prefix.
    kv_t, gram: [B, H, V, 160] and [B, H, 64, 32], the initial state.
    length: the number of the L positions that are tokens; None: all.
    chunk: the number of positions of a step.

  Returns:
    y [B, L, H, V], 1 / z [B, H, L], and the final `kv_t` and `gram`.
  """
  length = q.shape[1] if length is None else length
  if k_enc is not None:
    for k_i, v_i, valid in _prefix_chunks(k_enc, v_enc, prefix_len, chunk):
      kv_t, gram = _update(kv_t, gram, k_i, v_i, valid)

  outputs = []
  for i, (q_i, k_i, v_i) in enumerate(_chunks(chunk, q, k, v)):
    x = q_i / 4
    s = x @ k_i.mT
    weights = jnp.tril(1 + s + s * s / 2)
    num = weights @ v_i + _features(q_i, query=True) @ kv_t.mT
    t = _with_one(x / 2) @ corner(gram)[..., :32, :]
    z = weights.sum(-1) + (t * _with_one(x)).sum(-1)
    outputs.append((num / z[..., None], 1 / z))
    valid = i * chunk + jnp.arange(chunk)[:, None] < length
    kv_t, gram = _update(kv_t, gram, k_i, v_i, valid)
  y, inv_z = zip(*outputs)
  return _join(y), jnp.concatenate(inv_z, axis=-1), kv_t, gram


def backward(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    k_enc: jax.Array | None,
    v_enc: jax.Array | None,
    prefix_len: jax.Array | None,
    kv_t: jax.Array,
    gram: jax.Array,
    y: jax.Array,
    inv_z: jax.Array,
    dy: jax.Array,
    dkv_t: jax.Array,
    dgram: jax.Array,
    *,
    chunk: int = CHUNK,
) -> tuple[jax.Array | None, ...]:
  """Computes all cotangents; `forward` describes the arguments.

  With g = dy / z and δ = dy·y / z, the cotangent of the weight of a pair is
  A = g·v - δ, and that of s is A (1 + s). The three parts are launches.

  Args:
    q, k, v, k_enc, v_enc, prefix_len, kv_t, gram: the arguments of `forward`.
    y, inv_z: the results of `forward`.
    dy: [B, L, H, V], 0 where there is no token; gradients of k and v have no
      meaning there.
    dkv_t, dgram: cotangents of the final state.
    chunk: how many positions are one step.

  Returns:
    dq, dk, dv, dk_enc, dv_enc, and the cotangents of the initial state.
  """
  g = dy * jnp.swapaxes(inv_z, 1, 2)[..., None]
  delta = (g * y).sum(-1, keepdims=True)  # [B, L, H, 1]
  chunks = _chunks(chunk, q, k, v, g, delta)
  prefix = []
  if k_enc is not None:
    prefix = _prefix_chunks(k_enc, v_enc, prefix_len, chunk)
  dq = _dq(chunks, prefix, kv_t, gram)
  dk, dv, dkv_t, moments = _dkv(chunks, dkv_t, moments_from_dgram(dgram))
  dk_enc, dv_enc = _dprefix(prefix, dkv_t, moments)
  dgram = dgram_from_moments(moments)
  return dq, dk, dv, dk_enc, dv_enc, dkv_t, dgram


def _dq(chunks, prefix, kv_t, gram):
  """Forward in time, with the state before each chunk."""
  for k, v, valid in prefix:
    kv_t, gram = _update(kv_t, gram, k, v, valid)
  dq = []
  for q, k, v, g, delta in chunks:
    x = q / 4
    ds = jnp.tril((g @ v.mT - delta) * (1 + x @ k.mT))
    dx = ds @ k + features_vjp(x, g @ kv_t, query=True)
    t = _with_one(x) @ corner(gram)[..., :32, :]
    dq.append((dx - delta * t[..., :16]) / 4)
    kv_t, gram = _update(kv_t, gram, k, v, True)
  return _join(dq)


def _dkv(chunks, dkv_t, moments):
  """Backward in time, with the cotangent of the state after each chunk."""
  dk, dv = [], []
  for q, k, v, g, delta in reversed(chunks):
    x = q / 4
    s = x @ k.mT
    weights = jnp.tril(1 + s + s * s / 2)
    ds = jnp.tril((g @ v.mT - delta) * (1 + s))
    dk_state, dv_state = _read_vjp(k, v, dkv_t, moments)
    dk.append(ds.mT @ x + dk_state)
    dv.append(weights.mT @ g + dv_state)
    phi = _features(q, query=True)
    dkv_t = dkv_t + g.mT @ phi
    moments = moments + phi[..., :64].mT @ (delta * _with_one(x))
  return _join(dk[::-1]), _join(dv[::-1]), dkv_t, moments


def _dprefix(prefix, dkv_t, moments):
  """From the total cotangent, because all queries read the whole prefix."""
  if not prefix:
    return None, None
  dk, dv = [], []
  for k, v, valid in prefix:
    dk_i, dv_i = _read_vjp(k, v, dkv_t, moments)
    dk.append(jnp.where(valid, dk_i, 0))
    dv.append(jnp.where(valid, dv_i, 0))
  return _join(dk), _join(dv)


def features_vjp(x: jax.Array, dphi: jax.Array, *, query: bool) -> jax.Array:
  """Returns J(x)ᵀ dphi for the features φ of x' = q / 4 or of k.

  A product of x with a rolled copy of x has two factors. The cotangent of the
  first one is added directly. Those of the second one are added up for each
  roll and rolled back at the end; the kernels do this with one product with the
  matrix that rolled them.

  Args:
    x: [..., 16].
    dphi: [..., 160].
    query: whether φ is φ_q, whose squares have the factor 1/2.
  """
  rolled = {r: _roll(x, r) for r in (1, 2, 3, 4)}
  linear, half, squares, cross, *pairs = jnp.split(dphi, 10, axis=-1)
  half = jnp.where(np.arange(16) & 4, 0, half)  # x·R4, each pair once
  lo, hi = jnp.split(x, 2, axis=-1)
  cross_lo, cross_hi = jnp.split(cross, 2, axis=-1)
  hi4 = rolled[4][..., 8:]
  dx = linear + half * rolled[4] + squares * x * (1 if query else 2)
  dx += jnp.concatenate(
      [cross_lo * hi + cross_hi * hi4, cross_lo * lo], axis=-1
  )
  back = {4: half * x + jnp.concatenate([0 * lo, cross_hi * lo], axis=-1)}
  for r, same, swapped in zip((1, 2, 3), pairs[::2], pairs[1::2]):
    dx += same * rolled[r] + swapped * _swap(rolled[r])
    back[r] = same * x + _swap(swapped * x)
  return dx + sum(_roll(t, -r) for r, t in back.items())


def _features(x, *, query, valid=True):
  """[..., 160]; every feature of a position that is not valid is 0."""
  return jnp.where(valid, roll_features.features(x, query=query), 0)


def _update(kv_t, gram, k, v, valid):
  """The state after a chunk."""
  phi = _features(k, query=False, valid=valid)
  return kv_t + v.mT @ phi, gram + phi[..., :64].mT @ phi[..., :32]


def _read_vjp(k, v, dkv_t, moments):
  """Cotangents of keys and values that were added to a state."""
  t = _with_one(k) @ corner(moments)[..., :32, :]
  dk = features_vjp(k, v @ dkv_t, query=False) - t[..., :16]
  return dk, _features(k, query=False) @ dkv_t.mT


def _with_one(x):
  """[..., 32]: x, and 1 in the column of the constant."""
  one = jnp.where(np.arange(16) == CONSTANT - 16, 1, jnp.zeros_like(x))
  return jnp.concatenate([x, one], axis=-1)


def _roll(x, r):
  """R_r: rolls each half of the 16 columns separately."""
  halves = jnp.split(x, 2, axis=-1)
  return jnp.concatenate([jnp.roll(h, -r, axis=-1) for h in halves], axis=-1)


def _swap(x):
  """Exchanges the halves."""
  return jnp.roll(x, 8, axis=-1)


def _chunks(chunk, *arrays):
  """Chunks [B, H, C, *] of arrays [B, L, H, *], side by side."""
  L = arrays[0].shape[1]
  moved = [jnp.moveaxis(x, 2, 1) for x in arrays]
  return [[x[:, :, i : i + chunk] for x in moved] for i in range(0, L, chunk)]


def _prefix_chunks(k_enc, v_enc, prefix_len, chunk):
  """k, v and which of their positions are prefix, chunk by chunk."""
  positions = jnp.arange(k_enc.shape[1])
  valid = (positions < prefix_len[:, None])[..., None, None]  # [B, P, 1, 1]
  return _chunks(chunk, k_enc, v_enc, valid)


def _join(chunks):
  """[B, L, H, *] from chunks [B, H, C, *]."""
  return jnp.moveaxis(jnp.concatenate(chunks, axis=2), 1, 2)
