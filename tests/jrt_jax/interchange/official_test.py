"""Holds the conversion to what the official code computed and stored."""

import importlib
import math

import ml_dtypes
import numpy as np
import pytest

from configs import base
from jrt_jax import weights
from jrt_jax.interchange import agreement
from jrt_jax.interchange import official

BASE = base.get_config().to_dict()
EMBEDDING = 'transformer.embeddings.word_embeddings.weight'
TAPS = 'transformer.layers.0.mixer.conv.conv.weight'


def assert_same(actual, expected):
  assert actual.keys() == expected.keys()
  for name, x in expected.items():
    assert actual[name].dtype == x.dtype, name
    np.testing.assert_array_equal(actual[name], x, err_msg=name)


@pytest.mark.parametrize('name', ['jrt', 'based'])
def test_a_checkpoint_gives_the_official_logits(
    name, write_official, golden_file
):
  config, params = official.read(write_official(name), BASE)
  assert agreement.max_difference(config, params, golden_file(name)) < 1e-5


@pytest.mark.parametrize('name', ['jrt', 'based'])
def test_a_checkpoint_is_written_as_it_was_read(
    name, write_official, state_dict, tmp_path
):
  folder = write_official(name)
  config, params = official.read(folder, BASE)
  official.write(tmp_path, config, params)
  again = weights.read_safetensors(tmp_path / 'model.safetensors')
  assert_same(again, state_dict(name))
  assert official.read(tmp_path, BASE)[0] == config


def test_a_checkpoint_is_written_as_bin(write_official, state_dict, tmp_path):
  pytest.importorskip('torch')
  official.write(
      tmp_path, *official.read(write_official(), BASE), use_torch=True
  )
  assert_same(weights.read(tmp_path), state_dict('jrt'))


@pytest.mark.parametrize(
    'changes',
    [
        {'alt_mixer_2': {'window_size': 16}},
        pytest.param({'alt_mixer': {'enc_length': 32}}, marks=pytest.mark.slow),
        pytest.param({'rotary_emb_fraction': 0.5}, marks=pytest.mark.slow),
        pytest.param({'layer_norm_epsilon': 1e-2}, marks=pytest.mark.slow),
    ],
)
def test_what_config_json_says_changes_the_logits(
    changes, write_official, golden_file
):
  config, params = official.read(write_official(**changes), BASE)
  assert agreement.max_difference(config, params, golden_file('jrt')) > 1e-3


def test_padding_rows_of_the_embedding_are_zero_and_never_written(
    write_official, tmp_path
):
  config, params = official.read(write_official(), BASE)
  embedding = params['embedding.embedding']
  assert config['model']['vocab_size'] == 104  # 97, in multiples of 8
  assert embedding.shape == (128, 64)
  assert not embedding[104:].any()
  params['embedding.embedding'] = np.where(embedding == 0, 7, embedding)
  official.write(tmp_path, config, params)
  assert weights.read(tmp_path)[EMBEDDING].shape == (104, 64)


def test_names_of_a_trainer_are_cleaned(write_official, state_dict):
  plain = state_dict('jrt')
  arrays = {f'model.{name}': x for name, x in plain.items()}
  arrays['model.transformer.layers.0.mixer.conv.conv1.weight'] = arrays.pop(
      f'model.{TAPS}'
  )
  arrays['train_metrics.num-tokens.count'] = np.array(5)
  arrays['model.transformer.layers.2.mixer.rotary_emb.inv_freq'] = np.ones(8)
  _, params = official.read(write_official(arrays=arrays), BASE)
  _, expected = official.read(write_official(), BASE)
  assert_same(params, expected)


def test_narrower_weights_become_float32(write_official, state_dict):
  arrays = {
      name: x.astype(ml_dtypes.bfloat16)
      for name, x in state_dict('jrt').items()
  }
  _, params = official.read(write_official(arrays=arrays), BASE)
  norm = params['final_norm.scale']
  assert norm.dtype == np.float32
  np.testing.assert_array_equal(norm, arrays['transformer.ln_f.weight'])


def test_a_head_that_is_not_stored_is_the_embedding(write_official, state_dict):
  arrays = {n: x for n, x in state_dict('jrt').items() if n != 'lm_head.weight'}
  _, params = official.read(write_official(arrays=arrays), BASE)
  assert len(params) == len(arrays)


def test_a_head_of_its_own_is_refused(write_official, state_dict):
  arrays = state_dict('jrt')
  arrays = arrays | {'lm_head.weight': arrays['lm_head.weight'] + 1}
  with pytest.raises(
      ValueError, match='lm_head.weight in .* must equal the embe'
  ):
    official.read(write_official(arrays=arrays), BASE)


def test_every_wrong_weight_is_named_in_one_line(write_official, state_dict):
  arrays = dict(state_dict('jrt'))
  del arrays['transformer.ln_f.weight'], arrays[TAPS]
  arrays['transformer.decay.decay'] = np.ones(4, np.float32)
  arrays['transformer.layers.1.mixer.decay_proj.weight'] = np.ones((4, 64))
  arrays['transformer.layers.1.norm1.weight'] = np.ones(65, np.float32)
  arrays['transformer.layers.1.norm2.weight'] = np.ones(64, np.int64)
  with pytest.raises(ValueError) as error:
    official.read(write_official(arrays=arrays), BASE)
  (line,) = str(error.value).splitlines()
  for part in (
      f'missing {TAPS}, transformer.ln_f.weight;',
      'unexpected transformer.decay.decay, transformer.layers.1.mixer.decay_p',
      'transformer.layers.1.norm1.weight is (65,), not (64,);',
      'transformer.layers.1.norm2.weight is int64, not float32 or narrower',
  ):
    assert part in line


def test_a_folder_without_config_json_is_a_clear_error(tmp_path):
  with pytest.raises(FileNotFoundError, match='config.json'):
    official.read(tmp_path, BASE)


@pytest.mark.parametrize('text', ['', '{"n_embd": 6', '[]', '\udcff'])
def test_a_damaged_config_json_is_a_clear_error(text, write_official):
  folder = write_official()
  content = text.encode(errors='surrogateescape')
  (folder / 'config.json').write_bytes(content)
  with pytest.raises(ValueError, match='config.json:? must'):
    official.read(folder, BASE)


@pytest.mark.parametrize(
    'name, size',
    [
        ('jrt_360m', 356_578_304),
        pytest.param('based_360m', 362_620_928, marks=pytest.mark.slow),
        pytest.param('jrt_1b', 1_375_143_168, marks=pytest.mark.slow),
        pytest.param('based_1b', 1_349_453_056, marks=pytest.mark.slow),
    ],
)
def test_shipped_configs_have_the_size_of_the_released_models(name, size):
  module = importlib.import_module(f'configs.{name}')
  shapes = official.shapes(module.get_config().model.to_dict())
  assert shapes.pop('lm_head.weight') == shapes[EMBEDDING]
  assert sum(map(math.prod, shapes.values())) == size


def test_shapes_of_the_360m_model_are_the_released_ones():
  shapes = official.shapes(BASE['model'])
  layer = 'transformer.layers'
  for name, shape in {
      EMBEDDING: (50264, 1024),
      'lm_head.weight': (50264, 1024),
      'transformer.ln_f.weight': (1024,),
      f'{layer}.0.norm1.weight': (1024,),
      f'{layer}.0.mlp.fc1.weight': (4096, 1024),
      f'{layer}.0.mlp.fc2.weight': (1024, 2048),
      f'{layer}.0.mixer.in_proj.weight': (4096, 1024),
      f'{layer}.0.mixer.in_proj.bias': (4096,),
      f'{layer}.0.mixer.conv.conv.weight': (2048, 1, 3),
      f'{layer}.0.mixer.out_proj.weight': (1024, 2048),
      f'{layer}.0.mixer.out_proj.bias': (1024,),
      f'{layer}.1.mixer.proj_q.weight': (256, 1024),
      f'{layer}.1.mixer.proj_k_enc.weight': (256, 1024),
      f'{layer}.1.mixer.proj_v_enc.weight': (1024, 1024),
      f'{layer}.2.mixer.Wqkv.weight': (3072, 1024),
      f'{layer}.2.mixer.out_proj.weight': (1024, 1024),
  }.items():
    assert shapes[name] == shape, name
