"""The features of the GPU kernels, in float64, and the state that they make."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import feature_maps
from pallas_kernels.prefix_linear_attention import inputs
from pallas_kernels.prefix_linear_attention import roll_features

B, L, H, V = 2, 7, 2, 3


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def draw(*shape):
  return jnp.asarray(np.random.default_rng(0).standard_normal(shape))


def public_state(phi, v):
  kv = jnp.einsum('blhf,blhv->bhfv', phi, v)
  return inputs.State(kv, jnp.einsum('blhf->bhf', phi))


def test_the_product_of_the_features_is_the_taylor_kernel():
  q, k = draw(2, 50, roll_features.D)
  actual = jnp.sum(
      roll_features.features(q, query=True)
      * roll_features.features(k, query=False),
      axis=-1,
  )
  s = jnp.sum(q * k, axis=-1) / 4
  np.testing.assert_allclose(actual, 1 + s + s * s / 2, rtol=1e-12)


def test_features_of_bfloat16_are_bfloat16():
  x = draw(5, roll_features.D).astype(jnp.bfloat16)
  phi = roll_features.features(x, query=True)
  assert phi.dtype == jnp.bfloat16
  assert phi.shape == (5, roll_features.NUM_FEATURES)


def test_states_of_both_feature_maps_are_the_same_state():
  k, v = draw(B, L, H, roll_features.D), draw(B, L, H, V)
  phi = roll_features.features(k, query=False)
  kv_t = jnp.einsum('blhf,blhv->bhvf', phi, v)
  gram = jnp.einsum('blhf,blhg->bhfg', phi[..., :64], phi[..., :32])
  expected = public_state(feature_maps.taylor_features(k), v)

  actual = roll_features.unpack_state(kv_t, gram, V)
  testing.assert_close(actual, expected, 1e-14)
  packed_kv_t, packed_gram = roll_features.pack_state(expected)
  testing.assert_close(packed_kv_t, kv_t, 1e-14)
  counts = packed_gram != 0
  assert counts[0, 0].sum() == 16 * 16 + 16 + 1
  testing.assert_close(packed_gram, jnp.where(counts, gram, 0), 1e-14)


def test_packing_can_be_undone_and_differentiated():
  phi = feature_maps.taylor_features(draw(B, L, H, roll_features.D))
  state = public_state(phi, draw(B, L, H, V))

  def there_and_back(state):
    return roll_features.unpack_state(*roll_features.pack_state(state), V)

  actual, vjp = jax.vjp(there_and_back, state)
  testing.assert_close(actual, state, 1e-15)
  testing.assert_close(vjp(state)[0], state, 1e-15)


def test_rows_beyond_the_values_are_left_out():
  phi = feature_maps.taylor_features(draw(B, L, H, roll_features.D))
  state = public_state(phi, draw(B, L, H, V))
  kv_t, gram = roll_features.pack_state(state)
  kv_t = jnp.pad(kv_t, ((0, 0), (0, 0), (0, 2), (0, 0)), constant_values=7)
  testing.assert_close(roll_features.unpack_state(kv_t, gram, V), state, 1e-15)


def test_the_cotangent_of_the_gram_corner_is_symmetric():
  gram = draw(B, H, *roll_features.GRAM_SHAPE)
  kv_t = draw(B, H, V, roll_features.NUM_FEATURES)

  def loss(gram):
    k = roll_features.unpack_state(kv_t, gram, V).k
    return jnp.sum(k * draw(*k.shape))

  corner = jax.grad(loss)(gram)[..., :16, :16]
  np.testing.assert_array_equal(corner, jnp.swapaxes(corner, -1, -2))
