import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models.context import Context
from jrt_jax.models.prefix_linear_attention import PrefixLinearAttention
import pallas_kernels

B, L, P, E, H, D = 2, 8, 5, 12, 3, 4


@pytest.fixture
def make_mixer(make_build):

  def make(
      *,
      reads_prefix=True,
      num_heads=H,
      normalizer='auto',
      implementation='auto',
      causal_in_prefix=True,
      first_values='random',
      **feature_map,
  ):
    return PrefixLinearAttention(
        make_build(width=E),
        {
            'num_heads': num_heads,
            'feature_map': {'name': 'taylor_exp', 'feature_dim': D}
            | feature_map,
            'normalizer': normalizer,
            'implementation': implementation,
            'pla': {
                'prefix_reader': 'sum',
                'causal_in_prefix': causal_in_prefix,
                'first_values': first_values,
            },
        },
        reads_prefix=reads_prefix,
    )

  return make


@pytest.fixture
def x():
  return jax.random.normal(jax.random.key(0), (B, L, E))


def context(**kwargs):
  return Context(
      B, L, prefix_capacity=P, prefix_len=jnp.array([P, 2]), **kwargs
  )


def attention(mixer, x, weight=None, causal_in_prefix=True):
  """The outputs as equation 3 has them; weight [B, L] of each key, or 1."""

  def heads(linear, x):
    return np.asarray(linear(x)).reshape(*x.shape[:2], H, -1)

  def weigh(q, k):
    s = np.einsum('bihd,bjhd->bhij', q, k) / D**0.5
    return 1 + s + s**2 / 2

  q, k, v = (heads(f, x) for f in (mixer.proj_q, mixer.proj_k, mixer.proj_v))
  k_enc, v_enc = (heads(f, x) for f in (mixer.proj_k_enc, mixer.proj_v_enc))
  if weight is not None:  # a key of zeros weighs 1
    k, k_enc = (z * weight[..., None, None] for z in (k, k_enc))
  causal = weigh(q, k) * np.tri(L)
  is_prefix = np.arange(L) < np.array([[P], [2]])
  if not causal_in_prefix:
    causal = causal * ~is_prefix[:, None, None]
  prefix = weigh(q, k_enc) * is_prefix[:, None, None]
  num = np.einsum('bhij,bjhv->bihv', causal, v)
  num += np.einsum('bhij,bjhv->bihv', prefix, v_enc)
  den = (causal + prefix).sum(-1).transpose(0, 2, 1)
  y = (num / den[..., None]).reshape(B, L, E)
  return y @ np.asarray(mixer.out_proj.kernel)


def test_outputs_are_those_of_the_equation(make_mixer, x):
  mixer = make_mixer()
  actual = jax.jit(lambda x: mixer(x, context()))(x)
  expected = attention(mixer, x)
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_the_prefix_half_can_read_the_prefix_alone(make_mixer, x):
  mixer = make_mixer(causal_in_prefix=False)
  actual = jax.jit(lambda x: mixer(x, context()))(x)
  expected = attention(mixer, x, causal_in_prefix=False)
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('causal_in_prefix', [True, False])
def test_a_prefix_that_comes_in_blocks_is_the_same_prefix(
    make_mixer, x, causal_in_prefix
):
  mixer = make_mixer(causal_in_prefix=causal_in_prefix)
  whole = Context(B, L, prefix_capacity=L)
  expected = jax.jit(lambda x: mixer(x, whole, return_state=True))(x)

  @jax.jit
  def in_blocks(x):
    blocks = jnp.moveaxis(x.reshape(B, 2, L // 2, E), 1, 0)
    masks = jnp.ones(blocks.shape[:-1], bool)
    empty = jax.tree.map(jnp.zeros_like, expected[1])
    state = mixer.read_prefix(blocks, masks, empty)
    outputs = []
    for block in blocks:
      own = Context(B, L // 2, prefix_in_state=True)
      y, state = mixer(block, own, state=state, return_state=True)
      outputs.append(y)
    return jnp.concatenate(outputs, axis=1), state

  jax.tree.map(
      functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4),
      in_blocks(x),
      expected,
  )


def test_with_values_of_zero_a_mixer_begins_as_its_causal_twin(make_mixer, x):
  options = {'first_values': 'zero', 'normalizer': 'output_rms'}
  mixer, causal = (
      make_mixer(reads_prefix=read, **options) for read in (True, False)
  )
  for name in ('proj_q', 'proj_k', 'proj_v', 'out_proj'):
    getattr(causal, name).kernel[...] = getattr(mixer, name).kernel[...]
  np.testing.assert_allclose(
      mixer(x, context()), causal(x, context()), rtol=1e-5, atol=1e-6
  )
  mixer.proj_v_enc.kernel[...] += 1.0
  assert not np.allclose(mixer(x, context()), causal(x, context()), atol=0.1)


def test_what_kernels_refuse_is_computed_in_chunks(make_mixer, x):
  mixers = [
      make_mixer(implementation=f'{x}chunked') for x in ('mosaic_sm90_or_', '')
  ]
  here = context(mask=np.arange(L) < np.array([[L], [4]]))
  outputs = [jax.jit(lambda x, m=m: m(x, here))(x) for m in mixers]
  np.testing.assert_array_equal(*outputs)


def test_an_unzeroed_pad_of_released_models_weighs_1(make_mixer, x):
  mixer = make_mixer()
  token = np.arange(L) >= np.array([[3], [1]])
  read = lambda x: mixer(x, context(unzeroed=jnp.array(token)))
  expected = attention(mixer, x, weight=token)
  np.testing.assert_allclose(jax.jit(read)(x), expected, rtol=1e-4, atol=1e-4)


def test_without_a_prefix_only_causal_projections_are_read(make_mixer, x):
  mixer, causal = make_mixer(), make_mixer(reads_prefix=False)
  for name in ('proj_q', 'proj_k', 'proj_v', 'out_proj'):
    getattr(causal, name).kernel[...] = getattr(mixer, name).kernel[...]
  assert not hasattr(causal, 'proj_k_enc')
  np.testing.assert_allclose(
      mixer(x, Context(B, L)), causal(x, context()), rtol=1e-5, atol=1e-6
  )


def test_released_models_without_a_prefix_know_no_padding(make_mixer, x):
  causal = make_mixer(reads_prefix=False)
  actual = causal(x, Context(B, L, unzeroed=jnp.zeros((B, L), bool)))
  np.testing.assert_array_equal(actual, causal(x, Context(B, L)))


def test_the_state_is_that_of_the_operation(make_mixer, x):
  _, state = make_mixer()(x, context(), return_state=True)
  assert isinstance(state, pallas_kernels.State)
  assert state.kv.shape == (B, H, 1 + D + D * (D + 1) // 2, E // H)


HYBRID = {
    'name': 'hybrid_heads',
    'parts': ('hedgehog', 'linear'),
    'heads': (1, 2),
    'separate_encoder': True,
}


def test_groups_of_heads_have_maps_of_their_own(make_mixer, x):
  mixer = make_mixer(**HYBRID)
  assert [each.normalizer for each in mixer.groups] == ['sum', 'output_rms']
  # Only what is trained has a second map for keys of the prefix.
  assert [bool(each.feature_map_enc) for each in mixer.groups] == [True, False]

  @jax.jit
  def read(x):
    y, state = mixer(x, context(), return_state=True)
    alone = mixer(x[1:, :2], Context(1, 2, prefix_capacity=2))
    _, prefix = mixer(
        x[:, :P], Context(B, P, P, jnp.array([P, 2])), return_state=True
    )
    decoded = []
    for i in range(P, L):
      token, prefix = mixer.step(x[:, i], prefix)
      decoded.append(token)
    return y, state, alone, jnp.stack(decoded, axis=1), prefix

  y, state, alone, decoded, decoded_state = read(x)
  assert [s.kv.shape for s in state] == [(B, 1, 2 * D, 4), (B, 2, D, 4)]
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
  close(decoded, y[:, P:])
  jax.tree.map(close, decoded_state, state)
  close(alone[0], y[1, :2])  # the tokens of its prefix are all that it saw


@pytest.mark.parametrize('name', ['taylor_exp', 'gaussian_prf'])
def test_what_is_not_trained_has_no_map_for_the_prefix(make_mixer, name):
  message = f"separate_encoder must be False for '{name}', .* got True"
  with pytest.raises(ValueError, match=message):
    make_mixer(name=name, num_features=4, separate_encoder=True)


def test_a_width_that_heads_cannot_share_is_refused(make_mixer):
  with pytest.raises(ValueError, match='multiple of 5 for 5 heads, got 12'):
    make_mixer(num_heads=5)
