import functools

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models import feature_maps
from jrt_jax.models.context import Context
from jrt_jax.models.head_group import HeadGroup

B, L, P, H, D, V = 2, 5, 3, 2, 4, 3


@pytest.fixture
def make_group():

  def make(
      name='elu_plus_one', *, normalizer='auto', enc=None, V=V, **settings
  ):
    maps = [
        each
        and feature_maps.build(
            each, head_dim=D, num_heads=H, rngs=nnx.Rngs(0), **settings
        )
        for each in (name, enc)
    ]
    return HeadGroup(
        *maps, normalizer=normalizer, value_dim=V, implementation='reference'
    )

  return make


@pytest.fixture
def arrays():
  rng = np.random.default_rng(0)
  shapes = [(L, D), (L, D), (L, V), (P, D), (P, V)]
  return [
      rng.standard_normal((B, length, H, width)).astype(np.float32)
      for length, width in shapes
  ]


def attend(group):

  @jax.jit
  def attend(arrays):
    y, _ = group.attend(
        *arrays,
        context=Context(B, L, prefix_len=jnp.int32([P, 1])),
        state=None,
    )
    return y

  return attend


def test_keys_of_the_prefix_can_have_a_map_of_their_own(make_group, arrays):
  actual = attend(make_group('elu_plus_one', enc='relu'))(arrays)
  elu = lambda x: np.where(x > 0, x + 1, np.exp(x))
  q, k, v, k_enc, v_enc = arrays
  weigh = lambda q, k: np.einsum('blhf,bmhf->blhm', q, k)
  causal = weigh(elu(q), elu(k)) * np.tri(L)[:, None]
  is_prefix = np.arange(P) < np.array([[P], [1]])
  prefix = weigh(elu(q), np.maximum(k_enc, 0)) * is_prefix[:, None, None]
  num = np.einsum('blhm,bmhv->blhv', causal, v)
  num += np.einsum('blhm,bmhv->blhv', prefix, v_enc)
  den = causal.sum(-1) + prefix.sum(-1)
  np.testing.assert_allclose(actual, num / den[..., None], rtol=1e-4, atol=1e-5)


def test_output_rms_does_not_depend_on_how_large_outputs_are(
    make_group, arrays
):
  group = make_group('linear')
  assert group.normalizer == 'output_rms'
  gain = np.arange(1.0, 7.0).reshape(H, V)
  group.gain[...] = gain
  run = attend(group)
  y = run(arrays)
  np.testing.assert_allclose(np.square(y / gain).mean(-1), 1, rtol=1e-4)
  smaller = run([x * np.float32(0.1) for x in arrays])
  np.testing.assert_allclose(smaller, y, rtol=1e-2)


def test_output_rms_of_bfloat16_outputs_is_computed_in_float32(make_group):
  rng = np.random.default_rng(0)
  arrays = [
      jnp.asarray(rng.standard_normal((B, length, H, width)), jnp.bfloat16)
      for length, width in [(L, D), (L, D), (L, 64), (P, D), (P, 64)]
  ]
  y = np.float32(attend(make_group('linear', normalizer='none', V=64))(arrays))
  rms = np.sqrt(np.square(y).mean(-1, keepdims=True))
  expected = jnp.asarray(y / rms, jnp.bfloat16)
  actual = attend(make_group('linear', V=64))(arrays)
  assert actual.dtype == jnp.bfloat16
  assert np.mean(actual == expected) > 0.99


def test_what_has_seen_nothing_puts_out_0_with_finite_gradients(
    make_group, arrays
):
  group = make_group('linear')
  mask = np.ones((B, L), bool)
  mask[:, :2] = False

  @functools.partial(jax.value_and_grad, has_aux=True)
  def loss(arrays):
    y, _ = group.attend(
        *arrays,
        context=Context(B, L, prefix_len=jnp.int32([0, 0]), mask=mask),
        state=None,
    )
    return y.sum(), y

  (_, y), gradients = jax.jit(loss)(arrays)
  assert not np.any(y[:, :2]) and np.any(y[:, 2:])
  for gradient in gradients:
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    'name, normalizer, used',
    [
        ('taylor_exp', 'auto', 'sum'),
        ('symmetric_power', 'auto', 'output_rms'),
        ('symmetric_power', 'clamp', 'clamp'),
        ('gelu', 'clamp', 'clamp'),
        ('gelu', 'none', 'none'),
        ('mlp', 'output_rms', 'output_rms'),
    ],
)
def test_a_map_says_what_auto_is(make_group, name, normalizer, used):
  assert make_group(name, normalizer=normalizer).normalizer == used


@pytest.mark.parametrize(
    'name', ['linear', 'gelu', 'symmetric_power', 'polynomial']
)
def test_a_sum_of_weights_that_can_be_0_is_refused(make_group, name):
  message = "normalizer must be output_rms, .* can be 0 or negative.* got 'sum'"
  with pytest.raises(ValueError, match=message) as error:
    make_group(name, normalizer='sum')
  assert '\n' not in str(error.value)
