"""A prefix of several documents is trained as `DocumentMemory` reads it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from jrt_jax import models
from jrt_jax.models import documents

L, P, VOCAB = 20, 12, 24
CLOSE = {'rtol': 1e-5, 'atol': 1e-5}
EVERY_CHOICE = pytest.mark.parametrize(
    'reader, causal_in_prefix',
    [
        ('sum', True),
        ('sum', False),
        ('ridge', True),
        ('ridge', False),
        ('contracted', True),
    ],
)
NO_OTHERS = 'pla', 'pla'


@functools.cache
def make_model(
    reader='sum', causal_in_prefix=True, mixers=('conv', 'pla', 'swa', 'pla')
):
  config = base.get_config().model
  config.mixers = mixers
  config.update(width=16, num_heads=2, mlp_width=0, window=4, dtype='float32')
  config.update(vocab_size=VOCAB, mask_id=VOCAB - 1, vocab_multiple=8)
  config.init_std = 0.1
  config.normalizer = 'output_rms'
  config.feature_map.feature_dim = 3
  config.pla.prefix_reader = reader
  config.pla.causal_in_prefix = causal_in_prefix
  merge, params = models.split(models.build(config.to_dict()))
  # With a strength of about 1, a ridge regression does not amplify rounding.
  is_strength = lambda name: name.endswith('log_strength')
  return merge, {n: 0 * x if is_strength(n) else x for n, x in params.items()}


@functools.partial(jax.jit, static_argnames='merge')
def hidden(merge, params, tokens, lengths):
  """The activations of rows, [B, L, E]; `lengths` is [B] or [B, N]."""
  return merge(params).hidden(tokens, prefix_len=lengths, prefix_capacity=P)


@functools.partial(jax.jit, static_argnames='merge')
def read(merge, params, tokens, lengths):
  mask = jnp.arange(L) < lengths[:, None]
  return documents.read(merge(params), tokens, mask, block=5)


@functools.partial(jax.jit, static_argnames='merge')
def decode(merge, params, tokens, sums):
  model = merge(params)
  states = documents.states(model, sums, state_capacity=L)
  return model.decode_steps(tokens, states)[0]


def rows_of(number):
  """A row for each length of a prefix, of documents of any lengths."""
  rng = np.random.default_rng(number)
  tokens = rng.integers(VOCAB, size=(P + 1, L)).astype(np.int32)
  prefix = np.arange(P + 1)[:, None]
  inner = rng.integers(prefix + 1, size=(P + 1, number - 1))
  ends = np.concatenate([np.sort(inner, axis=1), prefix], axis=1)
  return tokens, np.diff(ends, axis=1, prepend=0).astype(np.int32)


def moved(x, first):
  """Row b of x [B, L, ...] so that it starts at position first[b]."""
  index = (first[:, None] + np.arange(L)) % L
  return np.take_along_axis(
      x, index.reshape(*index.shape, *[1] * (x.ndim - 2)), axis=1
  )


def assert_text_sees_documents(model, number):
  """Compares `hidden` with reading, adding up and decoding."""
  merge, params = model
  tokens, lengths = rows_of(number)
  starts = np.cumsum(lengths, axis=1) - lengths
  M = lengths.sum(axis=1)
  sums = [
      read(merge, params, moved(tokens, starts[:, i]), lengths[:, i])
      for i in range(number)
  ]
  total = jax.tree.map(lambda *x: sum(x), *sums)
  expected = decode(merge, params, moved(tokens, M), total)
  actual = moved(np.asarray(hidden(merge, params, tokens, lengths)), M)
  is_text = np.arange(L) < (L - M)[:, None]
  np.testing.assert_allclose(actual[is_text], expected[is_text], **CLOSE)


@pytest.mark.parametrize('number', [1, 2, 3])
@EVERY_CHOICE
def test_a_text_sees_what_is_kept_of_documents_that_are_read(
    reader, causal_in_prefix, number
):
  assert_text_sees_documents(make_model(reader, causal_in_prefix), number)


def test_layers_without_a_prefix_start_anew_after_each_document():
  model = make_model(mixers=('attention', 'gdn', 'pla', 'la', 'mamba2'))
  assert_text_sees_documents(model, 2)


@EVERY_CHOICE
def test_a_document_is_read_as_a_prefix_alone(reader, causal_in_prefix):
  merge, params = make_model(reader, causal_in_prefix)
  tokens, lengths = rows_of(3)
  found = np.asarray(hidden(merge, params, tokens, lengths))
  starts = np.cumsum(lengths, axis=1) - lengths
  for i in range(3):
    own = np.arange(L) < lengths[:, i, None]
    alone = hidden(merge, params, moved(tokens, starts[:, i]), lengths[:, i])
    actual = moved(found, starts[:, i])
    np.testing.assert_allclose(actual[own], alone[own], **CLOSE)


def test_documents_do_not_see_each_other_nor_what_follows():
  merge, params = make_model()
  tokens, lengths = np.arange(L, dtype=np.int32)[None], np.int32([[3, 4, 0, 5]])
  parts = np.split(np.arange(L), [3, 7, 7, 12])

  @jax.jit
  @jax.grad
  def gradient(params, weights):
    return jnp.sum(hidden(merge, params, tokens, lengths) ** 2 * weights)

  for i, part in enumerate(parts):
    weights = np.zeros((L, 1), np.float32)
    weights[part] = 1
    seen = gradient(params, weights)['embedding.embedding'][:L].any(axis=1)
    of_part = [seen[x].tolist() for x in parts]
    for j, flags in enumerate(of_part):
      sees = i == j or i == len(parts) - 1
      assert flags == [sees] * len(flags), (i, j)


def test_layers_that_keep_nothing_else_read_one_document_as_any_prefix():
  merge, params = make_model(causal_in_prefix=False, mixers=NO_OTHERS)
  tokens, lengths = rows_of(1)
  np.testing.assert_allclose(
      hidden(merge, params, tokens, lengths),
      hidden(merge, params, tokens, lengths[:, 0]),
      **CLOSE,
  )


def test_what_cannot_be_read_apart_is_refused():
  tokens, lengths = rows_of(2)
  merge, params = make_model(mixers=('prefix_gdn',))
  with pytest.raises(ValueError, match='does not add up, got 2 documents'):
    hidden(merge, params, tokens, lengths)
  merge, params = make_model(mixers=NO_OTHERS)
  with pytest.raises(ValueError, match='segment_ids must be None if prefix_le'):
    merge(params).hidden(tokens, prefix_len=lengths, segment_ids=tokens)
  with pytest.raises(ValueError, match=r'prefix_len must be int32 \[B\] here'):
    merge(params).prefill(tokens, prefix_len=lengths)
