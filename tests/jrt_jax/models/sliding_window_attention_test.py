import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models.context import Context
from jrt_jax.models.sliding_window_attention import blocked_attention
from jrt_jax.models.sliding_window_attention import SlidingWindowAttention


@pytest.fixture
def make_mixer(make_build):

  def make(*, width=16, num_heads=2, window=5, dtype='float32', **kwargs):
    build = make_build(width=width, dtype=dtype)
    return SlidingWindowAttention(
        build, num_heads=num_heads, window=window, rope_base=1e4, **kwargs
    )

  return make


def make_qkv(B, L, H=2, D=4):
  qkv = np.random.default_rng(0).normal(size=(3, B, L, H, D))
  return jnp.asarray(qkv, jnp.float32)


@functools.partial(jax.jit, static_argnames='window')
def attend(q, k, v, window, **context):
  B, L, _, _ = q.shape
  return blocked_attention(q, k, v, Context(B, L, **context), window=window)


@jax.jit
def masked_softmax(q, k, v, see):
  """Attention as it is defined; see is bool [B, L, L]."""
  scores = jnp.einsum('bihd,bjhd->bhij', q, k) / q.shape[-1] ** 0.5
  weights = jax.nn.softmax(jnp.where(see[:, None], scores, -jnp.inf))
  return jnp.einsum('bhij,bjhd->bihd', weights, v)


def in_window(L, W):
  distance = np.arange(L)[:, None] - np.arange(L)
  return (distance >= 0) & (distance < W)


def compiled(L, W=129):
  x = jax.ShapeDtypeStruct((1, L, 1, 4), jnp.float32)
  return attend.lower(x, x, x, W).compile()


@pytest.mark.parametrize(
    'L, W', [(1, 5), (3, 5), (5, 5), (8, 5), (14, 5), (7, 2), (6, 1)]
)
def test_blocks_equal_a_masked_softmax(L, W):
  q, k, v = make_qkv(2, L)
  actual = attend(q, k, v, W)
  see = np.broadcast_to(in_window(L, W), (2, L, L))
  expected = masked_softmax(q, k, v, see)
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_blocks_equal_a_masked_softmax_with_documents_and_padding():
  L, W = 14, 5
  q, k, v = make_qkv(2, L)
  segment_ids = jnp.array([[0] * 3 + [1] * 2 + [2] * 9, [0] * 14])
  mask = (jnp.arange(L) >= jnp.array([[2], [0]])) & (
      jnp.arange(L) < jnp.array([[12], [7]])
  )
  actual = attend(q, k, v, W, segment_ids=segment_ids, mask=mask)
  see = in_window(L, W) & mask[:, None]
  see &= segment_ids[:, :, None] == segment_ids[:, None]
  expected = masked_softmax(q, k, v, see | np.eye(L, dtype=bool))
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('window', [1, 4])
def test_a_token_sees_as_many_keys_as_the_window_says(make_mixer, window):
  L = 11
  mixer = make_mixer(window=window)
  x = jax.random.normal(jax.random.key(1), (1, L, 16))
  moved = x + jnp.eye(L)[..., None]  # [which token, L, E]
  read = jax.jit(lambda x: mixer(x, Context(len(x), L)))
  effect = jnp.abs(read(moved) - read(x)).max(axis=-1)
  np.testing.assert_array_equal(effect.T > 1e-4, in_window(L, window))


def test_memory_grows_linearly_with_the_length():
  half, whole = compiled(16384), compiled(32768)
  temp = [c.memory_analysis().temp_size_in_bytes for c in (half, whole)]
  assert temp[1] <= 2.1 * temp[0]
  assert temp[1] < 32768 * 32768
  assert not re.search(r'\[[\d,]*32768,32768', whole.as_text())


def test_scores_and_weights_are_float32_and_outputs_in_the_dtype_of_v():
  q, k, v = make_qkv(1, 40).astype(jnp.bfloat16)
  y = attend(q, k, v, 32)
  assert y.dtype == jnp.bfloat16
  exact = attend(*(x.astype(jnp.float32) for x in (q, k, v)), 32)
  np.testing.assert_allclose(y, exact, atol=0.02)


def test_decoding_goes_on_when_the_ring_is_full(make_mixer):
  L, window = 23, 3
  mixer = make_mixer(window=window)
  x = jax.random.normal(jax.random.key(1), (1, L, 16))

  @jax.jit
  def decode(x):
    y, state = mixer(x[:, :1], Context(1, 1), return_state=True)
    step = lambda state, x: mixer.step(x, state)[::-1]
    state, rest = jax.lax.scan(step, state, jnp.swapaxes(x[:, 1:], 0, 1))
    return jnp.concatenate([y, jnp.swapaxes(rest, 0, 1)], axis=1), state

  y, state = decode(x)
  np.testing.assert_allclose(y, mixer(x, Context(1, L)), rtol=1e-5, atol=1e-5)
  assert state.k.shape[1] == window


def test_an_empty_slot_of_the_ring_holds_zeros(make_mixer):
  mixer = make_mixer(window=5)
  x = jax.random.normal(jax.random.key(1), (1, 2, 16))
  prefill = lambda x: mixer(x, Context(1, 2), return_state=True)
  _, state = jax.jit(prefill)(x)
  assert not state.k[:, 2:].any() and not state.v[:, 2:].any()
  assert state.k[:, :2].all() and state.v[:, :2].all()
  np.testing.assert_array_equal(state.count, [2])


def test_only_a_gpu_chooses_cudnn_by_itself(make_mixer):
  x = jnp.ones((1, 8, 16), jnp.bfloat16)
  context = Context(1, 8)
  actual = make_mixer(dtype='bfloat16')(x, context)
  blocked = make_mixer(dtype='bfloat16', implementation='blocked')(x, context)
  np.testing.assert_array_equal(actual, blocked)


@pytest.mark.parametrize(
    'dtype, length, mask',
    [
        ('float32', 8, None),
        ('bfloat16', 8, jnp.ones((1, 8), bool)),
        ('bfloat16', 7, None),
    ],
)
def test_cudnn_refuses_what_it_cannot_take(make_mixer, dtype, length, mask):
  mixer = make_mixer(dtype=dtype, implementation='cudnn')
  with pytest.raises(NotImplementedError, match='cudnn takes bfloat16'):
    mixer(jnp.ones((1, length, 16)), Context(1, length, mask=mask))


def test_a_width_that_heads_cannot_share_is_refused(make_mixer):
  with pytest.raises(ValueError, match='multiple of 6 for rotary.* got 16'):
    make_mixer(num_heads=3)


def test_an_empty_window_is_refused(make_mixer):
  with pytest.raises(ValueError, match='window must be at least 1, got 0'):
    make_mixer(window=0)
