import functools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import models

MIXERS = 'conv', 'pla', 'swa', 'la', 'attention'
TOKENS = np.random.default_rng(0).integers(20, size=(2, 12)).astype(np.int32)
PREFIX_LEN = jnp.array([5, 0])


@functools.partial(jax.jit, static_argnums=0)
def logits_of(merge, params, tokens=TOKENS):
  return merge(params)(tokens, prefix_len=PREFIX_LEN)


@pytest.fixture(scope='module')
def model(tiny_config):
  """A function from parameters to a model, and parameters."""
  return models.split(models.build(tiny_config(mixers=MIXERS)))


def test_rows_beyond_the_vocabulary_have_no_logits_and_no_gradient(tiny_config):
  merge, params = models.split(models.build(tiny_config(mixers=('conv',))))
  table = params['embedding.embedding']
  assert table.shape == (24, 16)

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def value_and_grad(table):
    logits = merge(params | {'embedding.embedding': table})(TOKENS)
    return jax.nn.logsumexp(logits, axis=-1).sum(), logits

  (_, logits), gradient = value_and_grad(table)
  assert logits.shape == (2, 12, 20)
  assert not gradient[20:].any() and gradient[:20].any(axis=1).all()
  (_, same), _ = value_and_grad(table.at[20:].set(1e6))
  np.testing.assert_array_equal(logits, same)


def test_parameters_are_one_flat_dict_by_name(model):
  names = set(model[1])
  mixers = {
      'conv': 'in_proj.kernel in_proj.bias conv.kernel out_proj.kernel'
      ' out_proj.bias',
      'pla': 'proj_q.kernel proj_k.kernel proj_v.kernel proj_k_enc.kernel'
      ' proj_v_enc.kernel out_proj.kernel',
      'swa': 'qkv.kernel out_proj.kernel',
      'attention': 'qkv.kernel out_proj.kernel',
      'la': 'proj_q.kernel proj_k.kernel proj_v.kernel out_proj.kernel',
  }
  expected = {'embedding.embedding', 'final_norm.scale'}
  for i, mixer in enumerate(MIXERS):
    for name in mixers[mixer].split():
      expected.add(f'layers.{i}.mixer.{name}')
    for name in ('mixer_norm.scale', 'mlp_norm.scale'):
      expected.add(f'layers.{i}.{name}')
    for name in ('mlp.fc1.kernel', 'mlp.fc2.kernel'):
      expected.add(f'layers.{i}.{name}')
  assert names == expected


def test_a_model_is_made_of_parameters_in_any_order(tiny_config):
  config = tiny_config(mixers=('conv',) * 11)  # 'layers.10' sorts before '.2'
  merge, params = models.split(models.build(config))
  shuffled = list(params.items())
  random.Random(0).shuffle(shuffled)
  _, again = models.split(merge(dict(shuffled)))
  assert list(again) == list(params)
  assert all(again[name] is params[name] for name in params)


def test_an_abstract_model_has_the_shapes_of_a_real_one(tiny_config, model):
  merge, shapes = models.abstract(tiny_config(mixers=MIXERS))
  real_merge, params = model
  assert jax.eval_shape(lambda: params) == shapes
  actual, expected = (logits_of(m, params) for m in (merge, real_merge))
  np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize('key', ['dtype', 'residual_dtype'])
def test_a_bfloat16_model_is_close_to_its_float32_twin(tiny_config, model, key):
  merge, params = model
  config = tiny_config(mixers=MIXERS, **{key: 'bfloat16'})
  low = models.split(models.build(config))[0]
  actual, expected = (logits_of(m, params) for m in (low, merge))
  assert actual.dtype == jnp.float32
  error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
  assert 1e-5 < error < 0.03
  hidden = jax.eval_shape(low(params).hidden, TOKENS)
  assert hidden.dtype == config['dtype']


@pytest.mark.parametrize('key', ['dtype', 'residual_dtype'])
def test_prefill_and_decoding_of_a_bfloat16_model_agree(tiny_config, key):
  config = tiny_config(mixers=MIXERS, **{key: 'bfloat16'})
  merge, params = models.split(models.build(config))

  @jax.jit
  def read(params):
    model = merge(params)
    _, state = model.prefill(
        TOKENS[:, :-1], prefix_len=PREFIX_LEN, state_capacity=12
    )
    logits, following = model.decode_step(TOKENS[:, -1], state)
    expected = model(TOKENS, prefix_len=PREFIX_LEN)[:, -1]
    return logits, expected, state, following

  logits, expected, state, following = read(params)
  assert logits.dtype == jnp.float32
  np.testing.assert_allclose(logits, expected, atol=0.1)
  dtypes = lambda tree: [x.dtype for x in jax.tree.leaves(tree)]
  assert dtypes(state) == dtypes(following)


def test_memory_of_prefill_grows_linearly_with_the_length(tiny_config):
  merge, params = models.abstract(tiny_config(mixers=MIXERS, window=129))

  def temp(length):
    tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)

    @jax.jit
    def prefill(params, tokens):
      return merge(params).prefill(
          tokens,
          prefix_len=jnp.array([length // 2]),
          prefix_capacity=length // 2,
      )

    compiled = prefill.lower(params, tokens).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert temp(32768) <= 2.1 * temp(16384)


@pytest.mark.parametrize('unknown', [-1, 20, 23, 24])
def test_ids_beyond_the_vocabulary_are_refused(model, unknown):
  merge, params = model
  assert len(params['embedding.embedding']) == 24
  model = merge(params)
  message = rf'tokens must lie in \[0, 20\), got {unknown}'
  tokens = jnp.array([[3, 19], [0, unknown]])
  with pytest.raises(ValueError, match=message):
    model(tokens)
  with pytest.raises(ValueError, match=message):
    model.prefill(tokens)
  states = model.initial_states(2)
  with pytest.raises(ValueError, match=message):
    model.decode_step(tokens[:, 1], states)


def test_a_capacity_beyond_the_row_is_refused(model):
  merge, params = model
  with pytest.raises(ValueError, match=r'length of the rows \(12\), got 13'):
    merge(params).hidden(TOKENS, prefix_len=PREFIX_LEN, prefix_capacity=13)


def test_a_state_without_room_for_the_row_is_refused(model):
  merge, params = model
  with pytest.raises(ValueError, match=r'length of the rows \(12\), got 11'):
    merge(params).prefill(TOKENS, state_capacity=11)


def test_documents_after_earlier_tokens_are_refused(model):
  merge, params = model
  states = merge(params).initial_states(2)
  with pytest.raises(ValueError, match='segment_ids must be None where states'):
    merge(params).prefill(TOKENS, states=states, segment_ids=TOKENS)


@pytest.mark.slow
def test_memory_of_a_long_prefix_is_a_few_activations_a_token(tiny_config):
  config = tiny_config(mixers=('conv', 'pla', 'swa'), width=64)
  merge, params = models.abstract(config)

  def memory(length):
    tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)
    mask = jax.ShapeDtypeStruct((1, length), jnp.bool)

    @jax.jit
    def prefill(params, tokens, mask):
      return merge(params).prefill_all(tokens, mask=mask, block=64)

    compiled = prefill.lower(params, tokens, mask).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  more = (memory(16384) - memory(8192)) / 8192
  assert more < 10 * config['width'] * 4


@pytest.mark.parametrize(
    'overrides, message',
    [
        ({'mixers': ('conv', 'mamba')}, r"config.model.mixers\[1\] .*'mamba'"),
        ({'mixers': ()}, 'config.model.mixers must be a list of 1 to .* got 0'),
        ({'num_heads': 3}, 'multiple of .*3.* 16'),
        ({'colour': 3}, "config.model must not have the key 'colour'"),
        ({'dtype': 'float16'}, "config.model.dtype .* got 'float16'"),
        ({'rope_fraction': 2}, 'rope_fraction must be .* 0 to 1, got 2'),
        ({'remat': 'some'}, "config.model.remat .* dots, got 'some'"),
        ({'pad_mask': 'zero'}, "config.model.pad_mask .* got 'zero'"),
    ],
)
def test_an_impossible_config_is_refused_in_one_line(
    tiny_config, overrides, message
):
  with pytest.raises(ValueError, match=message) as error:
    models.abstract(tiny_config(**overrides))
  assert '\n' not in str(error.value)
