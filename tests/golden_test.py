"""Holds the whole model to arrays that the official PyTorch model computed.

tests/golden/*.npz hold a small JRT-RNN and a small Based: their weights, and
what https://github.com/HazyResearch/prefix-linear-attention made of them in
float32 on CPU. They are numbers only.
"""

import functools
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from jrt_jax import models
from jrt_jax.data import objectives
from jrt_jax.training import optimizer
from jrt_jax.training import train_state
from pallas_kernels.prefix_linear_attention import feature_maps

PREFIX, SPLIT, WINDOW, FEATURE_DIM, MASK_ID = 16, 20, 5, 8, 100


def make_config(mixers, **overrides):
  config = base.get_config().model.to_dict() | {
      'mixers': mixers,
      'width': 64,
      'num_heads': 4,
      'mlp_width': 256,
      'vocab_size': 104,
      'vocab_multiple': 8,
      'feature_map': {'name': 'taylor_exp', 'feature_dim': FEATURE_DIM},
      'window': WINDOW,
      'dtype': 'float32',
  }
  return config | overrides


def official_array(arrays, name):
  """Returns the official weights that our parameter `name` stands for."""
  for ours, theirs in {
      'embedding.embedding': 'embeddings.word_embeddings.weight',
      'final_norm.scale': 'ln_f.weight',
      'mixer_norm.scale': 'norm1.weight',
      'mlp_norm.scale': 'norm2.weight',
      'conv.kernel': 'conv.conv.weight',
      'qkv': 'Wqkv',
      'kernel': 'weight',
  }.items():
    name = name.replace(ours, theirs)
  weights = arrays[f'param.transformer.{name}']
  if 'conv.conv' in name:
    return weights[:, 0].T
  is_linear = weights.ndim == 2 and 'embeddings' not in name
  return weights.T if is_linear else weights


def load(name, mixers, **overrides):
  """Returns the arrays, and our model with the same weights."""
  file = pathlib.Path(__file__).parent / 'golden' / f'{name}_tiny.npz'
  arrays = dict(np.load(file))
  merge, shapes = models.abstract(make_config(mixers, **overrides))
  params = {
      n: jnp.asarray(official_array(arrays, n)).reshape(x.shape)
      for n, x in shapes.items()
  }
  return arrays, merge, params


load_jrt = functools.partial(load, 'jrt', ('conv', 'pla', 'swa', 'conv'))
load_based = functools.partial(load, 'based', ('conv', 'la', 'swa', 'conv'))


def prefixes(tokens):
  return jnp.full(len(tokens), PREFIX, jnp.int32)


@functools.partial(jax.jit, static_argnums=0)
def logits_of(merge, params, tokens, mask=None):
  return merge(params)(
      tokens, prefix_len=prefixes(tokens), prefix_capacity=PREFIX, mask=mask
  )


@functools.partial(jax.jit, static_argnums=0)
def prefill(merge, params, tokens, mask=None):
  return merge(params).prefill(
      tokens, prefix_len=prefixes(tokens), prefix_capacity=PREFIX, mask=mask
  )


@functools.partial(jax.jit, static_argnums=0)
def decode(merge, params, tokens, state):
  """Returns the logits [B, L, V] after each of the tokens [B, L]."""

  def step(state, token):
    logits, state = merge(params).decode_step(token, state)
    return state, logits

  return jnp.swapaxes(jax.lax.scan(step, state, tokens.T)[1], 0, 1)


def int32(x):
  return jnp.asarray(x, jnp.int32)


def assert_near(actual, expected):
  np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


def assert_same(actual, expected):
  assert actual.shape == expected.shape
  error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
  assert error < 1e-5


def official_features(x):
  """Maps [N, D] to [N, 1 + D + D²]: the constant, x, and each x_i x_j."""
  N, D = x.shape
  products = (x[:, :, None] * x[:, None, :]).reshape(N, D * D)
  return np.concatenate(
      [np.ones((N, 1)), x / D**0.25, products / (2 * D) ** 0.5], axis=1
  )


def to_official_features(x):
  """Takes our features [..., F], which have each product once, to theirs."""
  points = np.random.default_rng(0).normal(size=(100, FEATURE_DIM))
  ours = feature_maps.taylor_features(jnp.float32(points))
  matrix = np.linalg.lstsq(ours, official_features(points))[0]
  return np.asarray(x) @ matrix


@pytest.fixture(scope='module')
def jrt():
  return load_jrt()


@pytest.fixture(scope='module')
def jrt_with_reference_mask():
  return load_jrt(pad_mask='reference')


@pytest.fixture(scope='module')
def prefilled(jrt):
  arrays, merge, params = jrt
  return prefill(merge, params, int32(arrays['input_ids'][:, :SPLIT]))


@pytest.mark.parametrize('load', [load_jrt, load_based])
def test_logits_are_the_official_ones(load):
  arrays, merge, params = load()
  logits = logits_of(merge, params, int32(arrays['input_ids']))
  assert_near(logits, arrays['logits_parallel'])


def test_logits_of_masked_padding_are_the_official_ones(
    jrt_with_reference_mask,
):
  arrays, merge, params = jrt_with_reference_mask
  mask = jnp.asarray(arrays['pad_mask'], bool)
  logits = logits_of(merge, params, int32(arrays['padded_ids']), mask)
  assert_near(logits, arrays['logits_padded_masked'])


def test_logits_of_unmasked_padding_are_the_official_ones(jrt):
  arrays, merge, params = jrt
  logits = logits_of(merge, params, int32(arrays['padded_ids']))
  assert_near(logits, arrays['logits_padded_nomask'])


def test_a_reference_mask_is_forgotten_by_rows_longer_than_the_prefix(
    jrt_with_reference_mask,
):
  arrays, merge, params = jrt_with_reference_mask
  tokens = int32(arrays['input_ids'])
  logits = logits_of(merge, params, tokens, jnp.zeros(tokens.shape, bool))
  assert_near(logits, arrays['logits_parallel'])


def test_prefill_and_decoding_give_the_official_logits(jrt, prefilled):
  arrays, merge, params = jrt
  expected = arrays['logits_recurrent']
  logits, state = prefilled
  assert_near(logits, expected[:, SPLIT - 1])
  logits = decode(merge, params, int32(arrays['input_ids'][:, SPLIT:]), state)
  assert_near(logits, expected[:, SPLIT:])


def test_the_state_of_a_convolution_is_the_official_one(jrt, prefilled):
  expected = jrt[0]['state_after_prefill.layer0.conv']  # [B, I, 3]
  # Theirs also holds a third token, which drops out before it is read.
  assert_same(prefilled[1][0], np.swapaxes(expected, 1, 2)[:, 1:])


def test_the_state_of_prefix_linear_attention_is_the_official_one(
    jrt, prefilled
):
  arrays, state = jrt[0], prefilled[1][1]
  kv = arrays['state_after_prefill.layer1.kv'][:, :, 0]  # [B, H, V, F]
  assert_same(to_official_features(np.swapaxes(state.kv, 2, 3)), kv)
  k = arrays['state_after_prefill.layer1.k'][:, :, 0, 0]  # [B, H, F]
  assert_same(to_official_features(state.k), k)


def test_the_state_of_a_sliding_window_is_the_end_of_the_official_one(
    jrt, prefilled
):
  state = prefilled[1][2]
  cache = jrt[0]['state_after_prefill.layer2.kv']  # [B, SPLIT, 2, H, D]
  tokens = np.arange(SPLIT - WINDOW, SPLIT)
  assert_same(state.k[:, tokens % WINDOW], cache[:, tokens, 0])
  assert_same(state.v[:, tokens % WINDOW], cache[:, tokens, 1])
  assert (state.count == SPLIT).all()


def test_greedy_continuations_of_padded_prompts_are_the_official_ones(
    jrt_with_reference_mask,
):
  arrays, merge, params = jrt_with_reference_mask
  expected = arrays['greedy_after_padded_prefill']
  mask = jnp.asarray(arrays['pad_mask'], bool)
  first, state = prefill(merge, params, int32(arrays['padded_ids']), mask)
  rest = decode(merge, params, int32(expected[:, :-1]), state)
  logits = np.concatenate([first[:, None], rest], axis=1)
  np.testing.assert_array_equal(logits.argmax(-1), expected)


@pytest.fixture(scope='module')
def examples(jrt):
  """What our objective makes of the official sequences and mask draws."""
  objective = {
      'mask_rate': 0.5,
      'boundary': 'reference',
      'token_zero': 'reference',
  }
  rows = []
  for window, tokens in zip(jrt[0]['obj_seq'], jrt[0]['obj_inputs']):
    draws = types.SimpleNamespace(random=lambda M: tokens[:M] != MASK_ID)
    rows.append(
        objectives.jrt(
            window, PREFIX, objective=objective, mask_id=MASK_ID, rng=draws
        )
    )
  return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def test_the_objective_has_the_official_inputs_and_labels(jrt, examples):
  np.testing.assert_array_equal(examples['tokens'], jrt[0]['obj_inputs'])
  supervised = examples['supervision'] != objectives.UNSUPERVISED
  labels = np.where(supervised, examples['targets'], -100)
  np.testing.assert_array_equal(labels, jrt[0]['obj_labels'])


def test_logits_of_masked_tokens_are_the_official_ones(jrt, examples):
  arrays, merge, params = jrt
  logits = logits_of(merge, params, examples['tokens'])
  assert_near(logits, arrays['obj_logits'])


def test_losses_of_a_training_step_are_the_official_ones(jrt, examples):
  arrays, merge, params = jrt
  steps = train_state.Steps(
      merge,
      optimizer.skip_bad_steps(optax.identity()),
      prefix_capacity=PREFIX,
      mlm_weight=0.25,
  )
  state = train_state.init(params, steps.optimizer)
  metrics = jax.jit(steps.train)(state, examples)[1]
  for ours, theirs in {
      'next_token_loss': 'obj_loss_ntp',
      'masked_token_loss': 'obj_loss_mlm',
      'loss': 'obj_loss_total',
  }.items():
    assert metrics[ours] == pytest.approx(arrays[theirs], rel=1e-5)
