import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models.blocked_attention import causal_attention
from jrt_jax.models.blocked_attention import window_attention
from jrt_jax.models.context import Context

# Each with few queries or keys at a time, so that short rows have many blocks.
ATTENTIONS = {
    'causal': functools.partial(causal_attention, block=5),
    'window': functools.partial(window_attention, window=5),
}


def make_qkv(B, L, H=2, D=4):
  qkv = np.random.default_rng(0).normal(size=(3, B, L, H, D))
  return jnp.asarray(qkv, jnp.float32)


@functools.partial(jax.jit, static_argnums=0)
def attend(attention, q, k, v, **context):
  B, L, _, _ = q.shape
  return attention(q, k, v, Context(B, L, **context))


@jax.jit
def masked_softmax(q, k, v, see):
  """Attention as it is defined; see is bool [B, L, L]."""
  scores = jnp.einsum('bihd,bjhd->bhij', q, k) / q.shape[-1] ** 0.5
  weights = jax.nn.softmax(jnp.where(see[:, None], scores, -jnp.inf))
  return jnp.einsum('bhij,bjhd->bihd', weights, v)


def in_window(L, W):
  distance = np.arange(L)[:, None] - np.arange(L)
  return (distance >= 0) & (distance < W)


def in_window_or_sink(L, W, sinks, starts=(0,)):
  """What a query sees of a row whose documents begin at `starts`."""
  index = np.arange(L)
  document = np.searchsorted(starts, index, side='right')
  position = index - np.pad(starts, (1, 0))[document]
  see = in_window(L, W) | (np.tri(L, dtype=bool) & (position < sinks))
  return see & (document[:, None] == document)


def assert_equals_a_masked_softmax(attention, q, k, v, see, **context):
  actual = attend(attention, q, k, v, **context)
  see = np.broadcast_to(see, (len(q), *see.shape[-2:]))
  expected = masked_softmax(q, k, v, see)
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    'L, W', [(1, 5), (3, 5), (5, 5), (8, 5), (14, 5), (7, 2), (6, 1)]
)
def test_windows_equal_a_masked_softmax(L, W):
  attention = functools.partial(window_attention, window=W)
  assert_equals_a_masked_softmax(attention, *make_qkv(2, L), in_window(L, W))


@pytest.mark.parametrize('L, block', [(1, 4), (7, 8), (8, 4), (14, 5)])
def test_causal_attention_equals_a_masked_softmax(L, block):
  attention = functools.partial(causal_attention, block=block)
  assert_equals_a_masked_softmax(attention, *make_qkv(2, L), in_window(L, L))


@pytest.mark.parametrize('name, keys', [('causal', 14), ('window', 5)])
def test_documents_and_padding_equal_a_masked_softmax(name, keys):
  L = 14
  segment_ids = jnp.array([[0] * 3 + [1] * 2 + [2] * 9, [0] * 14])
  mask = (jnp.arange(L) >= jnp.array([[2], [0]])) & (
      jnp.arange(L) < jnp.array([[12], [7]])
  )
  see = in_window(L, keys) & mask[:, None]
  see &= segment_ids[:, :, None] == segment_ids[:, None]
  see |= np.eye(L, dtype=bool)
  assert_equals_a_masked_softmax(
      ATTENTIONS[name],
      *make_qkv(2, L),
      see,
      segment_ids=segment_ids,
      mask=mask,
  )


@pytest.mark.parametrize(
    'L, W, S',
    [(14, 5, 2), (14, 5, 7), (3, 5, 2), (9, 1, 1), (9, 2, 3), (6, 3, 9)],
)
def test_sinks_are_seen_beside_the_window(L, W, S):
  attention = functools.partial(window_attention, window=W, sinks=S)
  see = in_window_or_sink(L, W, S)
  assert_equals_a_masked_softmax(attention, *make_qkv(2, L), see)


def test_each_document_has_sinks_of_its_own():
  L, starts = 20, [0, 3, 9, 10, 18]
  attention = functools.partial(window_attention, window=4, sinks=2)
  segment_ids = np.searchsorted(starts, np.arange(L), side='right')
  assert_equals_a_masked_softmax(
      attention,
      *make_qkv(1, L),
      in_window_or_sink(L, 4, 2, starts),
      segment_ids=jnp.array(segment_ids)[None],
  )


def test_sinks_are_counted_after_padding():
  L, first, last = 14, np.array([0, 2, 6, 3]), np.array([14, 14, 13, 5])
  mask = (np.arange(L) >= first[:, None]) & (np.arange(L) < last[:, None])
  see = np.stack([in_window_or_sink(L, 4, 3, [0, n]) for n in first])
  see = (see & mask[:, None]) | np.eye(L, dtype=bool)
  attention = functools.partial(window_attention, window=4, sinks=3)
  qkv = make_qkv(4, L)
  actual = attend(attention, *qkv, mask=jnp.array(mask))
  assert jnp.isfinite(actual).all()  # of padding too
  np.testing.assert_allclose(
      actual[mask], masked_softmax(*qkv, see)[mask], rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize('name, keys', [('causal', 14), ('window', 5)])
def test_gradients_equal_those_of_a_masked_softmax(name, keys):
  L = 14
  q, k, v = make_qkv(1, L)
  weights = jax.random.normal(jax.random.key(0), v.shape)
  see = in_window(L, keys)[None]

  def gradient(f):
    loss = lambda qkv: jnp.sum(weights * f(*qkv))
    return jax.jit(jax.grad(loss))(jnp.stack([q, k, v]))

  actual = gradient(functools.partial(attend, ATTENTIONS[name]))
  expected = gradient(lambda q, k, v: masked_softmax(q, k, v, see))
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    'attention',
    [
        causal_attention,
        functools.partial(window_attention, window=129),
        functools.partial(window_attention, window=129, sinks=4),
    ],
)
def test_memory_grows_linearly_with_the_length(attention):

  def gradient(q):
    return jax.grad(lambda q: attend(attention, q, q, q).sum())(q)

  def compiled(L):
    x = jax.ShapeDtypeStruct((1, L, 1, 4), jnp.float32)
    return jax.jit(gradient).lower(x).compile()

  half, whole = compiled(16384), compiled(32768)
  temp = [c.memory_analysis().temp_size_in_bytes for c in (half, whole)]
  assert temp[1] <= 2.1 * temp[0]
  assert temp[1] < 32768 * 32768
  assert not re.search(r'\[[\d,]*32768,32768', whole.as_text())


@pytest.mark.parametrize('attention', ATTENTIONS.values(), ids=ATTENTIONS)
def test_scores_and_weights_are_float32_and_outputs_in_the_dtype_of_v(
    attention,
):
  q, k, v = make_qkv(1, 40).astype(jnp.bfloat16)
  y = attend(attention, q, k, v)
  assert y.dtype == jnp.bfloat16
  exact = attend(attention, *(x.astype(jnp.float32) for x in (q, k, v)))
  np.testing.assert_allclose(y, exact, atol=0.02)


def test_gradients_of_bfloat16_keys_are_added_up_in_float32():
  q, k, v = make_qkv(1, 256, H=1).astype(jnp.bfloat16)

  @functools.partial(jax.jit, static_argnums=0)
  def gradient(block, k):
    attention = functools.partial(causal_attention, block=block)
    return jax.grad(
        lambda k: attend(attention, q, k, v).astype(jnp.float32).sum()
    )(k)

  many, one = (gradient(block, k).astype(jnp.float32) for block in (4, 256))
  error = jnp.linalg.norm(many - one) / jnp.linalg.norm(one)
  assert error < 0.003
