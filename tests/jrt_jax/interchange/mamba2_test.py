"""Models of Mamba-2 from elsewhere: their logits, texts and errors."""

import functools

import jax
from flows import mamba2_folder
from flows.mamba2_folder import AUTHORS
from flows.mamba2_folder import CONFIG
from flows.mamba2_folder import E
from flows.mamba2_folder import LAYERS
from flows.mamba2_folder import VOCAB
import numpy as np
import pytest

from configs import base
from jrt_jax import generation
from jrt_jax import models
from jrt_jax import weights
from jrt_jax.data import tokenizers
from jrt_jax.interchange import mamba2

BASE = base.get_config().to_dict()


@pytest.fixture
def write(tmp_path):
  """A function that writes a folder with random weights, and returns it."""
  return functools.partial(mamba2_folder.write, tmp_path)


def logits(config, params, tokens):
  in_float32 = {'dtype': 'float32', 'residual_dtype': 'float32'}
  merge, _ = models.abstract(config['model'] | in_float32)
  return np.asarray(jax.jit(lambda p: merge(p)(tokens))(params))


def random_ids(shape=(2, 70)):
  return np.random.default_rng(1).integers(256, size=shape)


@pytest.fixture
def theirs(needs_torch):
  """A function that returns the model of a folder in transformers."""
  import transformers

  def load(folder):
    model, info = transformers.Mamba2ForCausalLM.from_pretrained(
        folder, tie_word_embeddings=True, output_loading_info=True
    )
    assert not any(info.values())
    return model.eval()

  return load


@pytest.mark.hf
@pytest.mark.parametrize('changes', [{}, {'use_conv_bias': False}])
def test_the_logits_are_those_of_transformers(write, theirs, changes):
  import torch

  names = [f'backbone.layers.{i}.mixer.conv1d.bias' for i in range(LAYERS)]
  folder = write(CONFIG | changes, dict.fromkeys(names) if changes else {})
  ids = random_ids()
  expected = theirs(folder)(torch.tensor(ids)).logits.numpy()
  actual = logits(*mamba2.read(folder, BASE), ids)
  scale = np.abs(expected).max()
  np.testing.assert_allclose(actual / scale, expected / scale, atol=1e-4)


@pytest.mark.hf
def test_the_greedy_text_is_that_of_transformers(write, theirs):
  import torch

  folder = write(CONFIG)
  config, params = mamba2.read(folder, BASE)
  config['model'] |= {'dtype': 'float32'}
  ours = generation.Model(config, params, tokenizers.Bytes())
  prompts = ['a', 'def f(', 'import os']
  settings = generation.GenerationSettings(max_tokens=40)
  done = generation.generate(ours, prompts, settings)
  assert sum(len(x.tokens) for x in done) > 60
  for prompt, completion in zip(prompts, done):
    ids = torch.tensor([[*prompt.encode()]])
    expected = theirs(folder).generate(
        ids, max_new_tokens=40, do_sample=False, eos_token_id=256
    )
    text = [x for x in expected[0, ids.shape[1] :].tolist() if x != 256]
    np.testing.assert_array_equal(completion.tokens, text)


def test_a_model_of_the_authors_is_the_same(write):
  tokens = random_ids((1, 9))
  expected = logits(*mamba2.read(write(CONFIG), BASE), tokens)
  folder = write(AUTHORS)
  path = folder / 'model.safetensors'
  arrays = weights.read_safetensors(path)
  table = arrays.pop('backbone.embeddings.weight')
  arrays |= {'backbone.embedding.weight': table, 'lm_head.weight': table}
  weights.write_safetensors(path, arrays)
  actual = logits(*mamba2.read(folder, BASE), tokens)
  np.testing.assert_array_equal(actual, expected)


def test_the_released_sizes_have_the_released_parameters():
  authors = {
      'd_model': 768,
      'n_layer': 24,
      'vocab_size': 50277,
      'pad_vocab_size_multiple': 16,
      'ssm_cfg': {'layer': 'Mamba2'},
  }
  model = mamba2.model_config(authors, 'config.json:', BASE['model'])
  _, shapes = models.abstract(model)
  vocabulary = shapes.pop('embedding.embedding').shape
  count = sum(int(np.prod(x.shape)) for x in shapes.values())
  assert count + 50288 * 768 == 128_989_632  # of state-spaces/mamba2-130m
  assert vocabulary == (50304, 768)


def test_newer_transformers_write_infinity_in_another_way(write):
  limit = [0.0, {'__float__': 'Infinity'}]
  mamba2.read(write(CONFIG | {'time_step_limit': limit}), BASE)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'model_type': 'mamba'}, "model_type must be mamba2, got 'mamba'"),
        ({'use_bias': True}, 'use_bias must be False, got True'),
        ({'hidden_act': 'gelu'}, "hidden_act must be .* swish, got 'gelu'"),
        ({'n_groups': 3}, 'num_heads must be a multiple of n_groups=3, got 4'),
        (
            {'time_step_limit': [0.0, 0.1]},
            r'time_step_limit must be \[0, Infinity\], got',
        ),
    ],
)
def test_what_our_models_cannot_be_is_one_line(write, changes, message):
  with pytest.raises(ValueError, match=f'config.json: {message}') as error:
    mamba2.read(write(CONFIG | changes), BASE)
  assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'d_intermediate': 64}, 'd_intermediate must be 0, got 64'),
        ({'attn_layer_idx': [1]}, 'attn_layer_idx must be None or a list'),
        ({'ssm_cfg': {'layer': 'Mamba1'}}, "layer must be Mamba2, got 'Mamba1"),
        (
            {'ssm_cfg': {'layer': 'Mamba2', 'D_has_hdim': True}},
            "ssm_cfg must not have the key 'D_has_hdim'",
        ),
    ],
)
def test_models_of_the_authors_with_other_layers_are_refused(
    write, changes, message
):
  with pytest.raises(ValueError, match=message):
    mamba2.read(write(AUTHORS | changes), BASE)


def test_a_head_of_its_own_is_refused(write):
  arrays = {'lm_head.weight': np.ones((VOCAB, E), np.float32)}
  with pytest.raises(ValueError, match='lm_head.weight in .* must equal the'):
    mamba2.read(write(CONFIG, arrays), BASE)


def test_weights_that_are_missing_are_named(write):
  name = 'backbone.layers.1.mixer.D'
  with pytest.raises(ValueError, match=f'config.json: missing {name}'):
    mamba2.read(write(CONFIG, {name: None}), BASE)
