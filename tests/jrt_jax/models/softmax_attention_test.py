import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models.context import Context
from jrt_jax.models.softmax_attention import fused_attention
from jrt_jax.models.softmax_attention import SoftmaxAttention


@pytest.fixture
def make_mixer(make_build):

  def make(*, width=16, num_heads=2, window=5, dtype='float32', **kwargs):
    build = make_build(width=width, dtype=dtype)
    return SoftmaxAttention(
        build, num_heads=num_heads, window=window, rope_base=1e4, **kwargs
    )

  return make


def inputs(L, B=1):
  return jax.random.normal(jax.random.key(1), (B, L, 16))


def decode(mixer, x, capacity):
  """Returns y [B, L, E] and the state, reading one token after the other."""

  @jax.jit
  def run(x):
    context = Context(len(x), 1, state_capacity=capacity)
    y, state = mixer(x[:, :1], context, return_state=True)
    step = lambda state, x: mixer.step(x, state)[::-1]
    state, rest = jax.lax.scan(step, state, jnp.swapaxes(x[:, 1:], 0, 1))
    return jnp.concatenate([y, jnp.swapaxes(rest, 0, 1)], axis=1), state

  return run(x)


@pytest.mark.parametrize('window, sinks', [(1, 0), (4, 0), (4, 2), (None, 0)])
def test_a_token_sees_as_many_keys_as_the_window_says(
    make_mixer, window, sinks
):
  L = 11
  mixer = make_mixer(window=window, sinks=sinks)
  x = inputs(L)
  moved = x + jnp.eye(L)[..., None]  # [which token, L, E]
  read = jax.jit(lambda x: mixer(x, Context(len(x), L)))
  effect = jnp.abs(read(moved) - read(x)).max(axis=-1)
  distance = np.arange(L)[:, None] - np.arange(L)
  is_sink = np.arange(L) < sinks
  see = (distance >= 0) & (is_sink | (distance < (window or L)))
  np.testing.assert_array_equal(effect.T > 1e-4, see)


@pytest.mark.parametrize('window', [3, None])
def test_decoding_equals_the_parallel_form(make_mixer, window):
  L = 23
  mixer = make_mixer(window=window)
  y, state = decode(mixer, inputs(L), capacity=L)
  expected = mixer(inputs(L), Context(1, L))
  np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
  assert state.k.shape[1] == (window or L)


def test_sinks_stay_beside_the_ring_of_the_window(make_mixer):
  L, W, S = 17, 4, 3
  mixer = make_mixer(window=W, sinks=S)
  y, state = decode(mixer, inputs(L), capacity=L)
  whole = jax.jit(lambda x: mixer(x, Context(1, L), return_state=True))
  expected, prefilled = whole(inputs(L))
  np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
  assert state.k.shape[1] == S + W
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
      state,
      prefilled,
  )


@pytest.mark.parametrize('W, S', [(4, 3), (1, 2), (6, 1)])
def test_with_sinks_any_number_of_pieces_reads_the_same(make_mixer, W, S):
  L = 14
  mixer = make_mixer(window=W, sinks=S)
  x = inputs(L, B=2)

  @jax.jit
  def read(x, cuts):
    """Row b in pieces that end at cuts[b], with padding after each."""
    expected, state = mixer(x, Context(2, L), return_state=True)
    index, reached = jnp.arange(L), jnp.zeros(2, jnp.int32)
    parts, before = jnp.zeros_like(x), None
    for cut in [*cuts.T, jnp.full(2, L)]:
      place = reached[:, None] + index
      piece = jnp.take_along_axis(x, jnp.minimum(place, L - 1)[..., None], 1)
      context = Context(2, L, mask=index < (cut - reached)[:, None])
      y, before = mixer(piece, context, state=before, return_state=True)
      place = jnp.where(context.mask, place, L)
      parts = parts.at[jnp.arange(2)[:, None], place].set(y, mode='drop')
      reached = cut
    return expected, state, parts, before

  for cuts in ([[1, 2], [2, 9]], [[5, 6], [7, 13]], [[3, 4], [4, 11]]):
    expected, state, parts, after = read(x, jnp.array(cuts))
    np.testing.assert_allclose(parts, expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), after, state
    )


def test_what_is_read_beyond_the_capacity_is_not_a_number(make_mixer):
  mixer = make_mixer(window=None)
  x = inputs(9, B=2)
  y, _ = decode(mixer, x, capacity=6)
  expected = mixer(x, Context(2, 9))
  np.testing.assert_allclose(y[:, :6], expected[:, :6], rtol=1e-5, atol=1e-5)
  assert jnp.isnan(y[:, 6:]).all()


def test_only_rows_that_are_too_long_are_not_numbers(make_mixer):
  mixer = make_mixer(window=None)
  mask = jnp.array([[True] * 4, [True] * 3 + [False]])

  @jax.jit
  def read_one_more(x):
    context = Context(2, 4, mask=mask)
    _, state = mixer(x, context, return_state=True)
    return mixer.step(x[:, 0], state)[0]

  y = read_one_more(inputs(4, B=2))
  np.testing.assert_array_equal(jnp.isnan(y).all(-1), [True, False])


@pytest.mark.parametrize('window', [5, None])
def test_an_empty_slot_of_the_state_holds_zeros(make_mixer, window):
  mixer = make_mixer(window=window)
  context = Context(1, 2, state_capacity=5)
  prefill = lambda x: mixer(x, context, return_state=True)
  _, state = jax.jit(prefill)(inputs(2))
  assert state.k.shape == (1, 5, 2, 8)
  assert not state.k[:, 2:].any() and not state.v[:, 2:].any()
  assert state.k[:, :2].all() and state.v[:, :2].all()
  np.testing.assert_array_equal(state.count, [2])


@pytest.mark.parametrize('window', [5, None])
def test_only_a_gpu_chooses_cudnn_by_itself(make_mixer, window):
  make = lambda **kwargs: make_mixer(dtype='bfloat16', window=window, **kwargs)
  actual, blocked = (
      mixer(jnp.ones((1, 8, 16), jnp.bfloat16), Context(1, 8))
      for mixer in (make(), make(implementation='blocked'))
  )
  np.testing.assert_array_equal(actual, blocked)


@pytest.mark.parametrize(
    'overrides, length, mask',
    [
        ({'dtype': 'float32'}, 8, None),
        ({}, 8, jnp.ones((1, 8), bool)),
        ({}, 7, None),
        ({'width': 272}, 8, None),  # two heads of 136
        ({'sinks': 1}, 8, None),
    ],
)
def test_cudnn_refuses_what_it_cannot_take(make_mixer, overrides, length, mask):
  mixer = make_mixer(
      **{'dtype': 'bfloat16', 'implementation': 'cudnn', **overrides}
  )
  x = jnp.ones((1, length, overrides.get('width', 16)))
  with pytest.raises(NotImplementedError, match='cudnn supports bfloat16'):
    mixer(x, Context(1, length, mask=mask))


@pytest.mark.parametrize('window', [3, None])
@pytest.mark.parametrize('width', [6, 8, 70])
def test_padding_heads_for_cudnn_changes_nothing(width, window):
  """As the same calls compute it in XLA; 70 is padded to 72."""
  L = 6
  q, k, v = jax.random.normal(jax.random.key(0), (3, 2, L, 2, width))
  weights = jax.random.normal(jax.random.key(1), v.shape)

  def padded(q, k, v):
    return fused_attention(q, k, v, window=window, implementation='xla')

  def defined(q, k, v):
    distance = jnp.arange(L)[:, None] - jnp.arange(L)
    see = (distance >= 0) & (distance < (window or L))
    scores = jnp.einsum('bihd,bjhd->bhij', q, k) / width**0.5
    shares = jax.nn.softmax(jnp.where(see, scores, -jnp.inf))
    return jnp.einsum('bhij,bjhd->bihd', shares, v)

  @jax.jit
  def everything(q, k, v):
    results = []
    for f in (padded, defined):
      y, vjp = jax.vjp(f, q, k, v)
      results.append((y, *vjp(weights)))
    return results

  for actual, expected in zip(*everything(q, k, v), strict=True):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('width', [70, 72])
def test_cudnn_is_given_heads_that_8_divides(width, monkeypatch):
  widths = []

  def fake(q, k, v, *, scale, implementation, **_):
    assert implementation == 'cudnn'
    assert scale == width**-0.5
    widths.extend(x.shape[-1] for x in (q, k, v))
    return v

  monkeypatch.setattr(jax.nn, 'dot_product_attention', fake)
  q = jnp.ones((1, 2, 1, width), jnp.bfloat16)
  assert fused_attention(q, q, q, window=None).shape == q.shape
  assert widths == [72] * 3


def test_a_width_that_heads_cannot_share_is_refused(make_mixer):
  with pytest.raises(ValueError, match='multiple of 6 for rotary.* got 16'):
    make_mixer(num_heads=3)


def test_rotary_embeddings_turn_the_fraction_of_the_config(make_mixer):
  x, context = jnp.broadcast_to(inputs(1), (1, 4, 16)), Context(1, 4)

  def turned(fraction):
    mixer = make_mixer(window=None, rope_fraction=fraction)
    prefill = jax.jit(lambda x: mixer(x, context, return_state=True))
    k = prefill(x)[1].k[0, :, 0]
    return np.asarray(jnp.ptp(k, axis=0) > 1e-6)

  np.testing.assert_array_equal(turned(0), [False] * 8)
  np.testing.assert_array_equal(turned(0.5), [True] * 4 + [False] * 4)
  np.testing.assert_array_equal(turned(1), [True] * 8)
