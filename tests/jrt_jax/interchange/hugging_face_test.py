"""What is written needs no torch; see remote_code for what transformers does."""

import dataclasses
import importlib
import json
import types

import numpy as np
import pytest

from configs import base
from jrt_jax import generation
from jrt_jax import models
from jrt_jax import weights
from jrt_jax.data import tokenizers
from jrt_jax.interchange import hugging_face
from jrt_jax.prefix import heuristic
from jrt_jax.prefix import policies
from jrt_jax.prefix.learned import policy
from jrt_jax.training import recorded_config

MIXERS = ['conv', 'pla', 'swa', 'la', 'attention', 'gdn', 'mamba2']


def make_model(tiny_config, **overrides):
  """A model of bytes with a prefix of up to 8 tokens; its weights are random."""
  config = base.get_config().to_dict()
  config['model'] = tiny_config(
      mixers=MIXERS, vocab_size=260, vocab_multiple=16, **overrides
  )
  config['sequence_length'] = 16
  config['objective']['mask_rate'] = 0.3
  _, shapes = models.abstract(config['model'])
  rng = np.random.default_rng(0)
  params = {
      name: rng.standard_normal(x.shape).astype(np.float32)
      for name, x in shapes.items()
  }
  return generation.Model(config, params, tokenizers.Bytes(), step=7)


@pytest.fixture(scope='module')
def model(tiny_config):
  return make_model(tiny_config)


@pytest.fixture
def folder(model, tmp_path):
  hugging_face.write(model, tmp_path / 'export', tokenizer='bytes')
  return tmp_path / 'export'


def test_rounded_weights_are_not_exported(model, tmp_path):
  name = 'layers.0.mixer.in_proj.kernel'
  params = model.params | {name: model.params[name].astype('bfloat16')}
  rounded = dataclasses.replace(model, params=params)
  with pytest.raises(ValueError, match='must be loaded with exact=True'):
    hugging_face.write(rounded, tmp_path / 'export', tokenizer='bytes')


def read_json(path):
  return json.loads(path.read_text())


def change_json(path, **changes):
  path.write_text(json.dumps(read_json(path) | changes))


def test_weights_come_back_bit_for_bit(model, folder):
  _, params = hugging_face.read(folder, base.get_config().to_dict())
  assert params.keys() == model.params.keys()
  for name, x in model.params.items():
    assert params[name].dtype == np.float32
    np.testing.assert_array_equal(params[name], x, err_msg=name)


def test_the_config_comes_back_with_what_makes_the_model(model, folder):
  other = base.get_config().to_dict() | {'seed': 5, 'sequence_length': 1}
  config, _ = hugging_face.read(folder, other)
  recorded = recorded_config.complete(model.config)  # as in a workdir
  for key in ('model', 'prefix', 'objective', 'sequence_length'):
    assert config[key] == recorded[key]
  assert config['data']['tokenizer'] == 'bytes'
  assert config['seed'] == 5


def test_only_rows_of_the_table_that_stand_for_ids_are_the_models(folder):
  arrays = weights.read_safetensors(folder / 'model.safetensors')
  assert arrays['model.embed_tokens.weight'].shape == (260, 16)
  assert arrays['vocabulary_padding'].shape == (12, 16)


def test_weights_that_others_have_saved_lack_only_the_padding(model, folder):
  arrays = weights.read_safetensors(folder / 'model.safetensors')
  del arrays['vocabulary_padding']
  params = hugging_face.from_torch(arrays, model.config['model'])
  table = params['embedding.embedding']
  np.testing.assert_array_equal(
      table[:260], model.params['embedding.embedding'][:260]
  )
  assert table.shape == (272, 16)
  assert not table[260:].any()


def test_parameters_of_heads_come_back_bit_for_bit(tiny_config):
  parts = {'parts': ('mlp', 'gaussian_rff'), 'num_features': 6}
  config = tiny_config(
      mixers=('pla',),
      feature_map={'name': 'hybrid_heads', 'feature_dim': 4} | parts,
      pla={'prefix_reader': 'ridge'},
  )
  params = models.split(models.build(config))[1]
  arrays = hugging_face.to_torch(params, config['vocab_size'])
  for name in ('feature_map.fc1.kernel', 'reader.log_strength'):
    assert f'model.layers.0.mixer.groups.0.{name}' in arrays
  for name, x in hugging_face.from_torch(arrays, config).items():
    np.testing.assert_array_equal(x, params[name], err_msg=name)


def test_matrices_have_the_layout_of_torch(model):
  arrays = hugging_face.to_torch(model.params, 260)
  x = np.random.default_rng(1).standard_normal(16).astype(np.float32)
  kernel = model.params['layers.2.mixer.qkv.kernel']
  np.testing.assert_allclose(
      arrays['model.layers.2.mixer.qkv.weight'] @ x,
      np.einsum('e,eij->ij', x, kernel).reshape(-1),
      rtol=1e-4,
      atol=1e-5,
  )


@pytest.mark.parametrize(
    'change, message',
    [
        (
            {'model.final_norm.weight': None},
            'but lacks model.final_norm.weight',
        ),
        ({'extra': np.zeros(3)}, 'but also has extra'),
        (
            {'model.final_norm.weight': np.zeros(3)},
            r'model.final_norm.weight must have the size of \[16\], got \[3\]',
        ),
    ],
)
def test_tensors_of_another_model_are_named(model, change, message):
  arrays = hugging_face.to_torch(model.params, 260) | change
  arrays = {name: x for name, x in arrays.items() if x is not None}
  with pytest.raises(ValueError, match=message):
    hugging_face.from_torch(arrays, model.config['model'])


def test_another_kind_of_model_is_refused(folder):
  change_json(folder / 'config.json', model_type='llama')
  with pytest.raises(ValueError, match="model_type must be jrt, got 'l"):
    hugging_face.read(folder, base.get_config().to_dict())


def test_a_damaged_config_is_named(folder):
  (folder / 'config.json').write_text('{"model_type":')
  with pytest.raises(ValueError, match='config.json must be JSON'):
    hugging_face.read(folder, base.get_config().to_dict())


def test_ids_that_are_no_text_are_never_generated(folder):
  settings = read_json(folder / 'generation_config.json')
  assert settings['suppress_tokens'] == [257, 258, 259]
  assert settings['eos_token_id'] == 256
  assert settings['do_sample'] is False


def test_prompts_are_read_as_the_model_was_trained(folder):
  config = read_json(folder / 'config.json')
  assert config['prefix_capacity'] == 8
  assert config['prefix_pad_id'] is None


PROMPTS = [
    np.random.default_rng(n).integers(k, size=n)
    for n in (0, 1, 5, 16, 33)
    for k in (1, 4, 256)
]


def fitted(prefix):
  """What a policy needs, so that prompts have prefixes of many lengths."""
  if prefix['name'] == 'entropy':
    return {'thresholds': heuristic.thresholds(PROMPTS, prefix)}
  features = np.array([policy.features(tokens) for tokens in PROMPTS])
  rng = np.random.default_rng(3)
  choice = policy.Choice(
      np.array([0.0, 0.2, 0.4, 0.7]),
      features.mean(axis=0),
      features.std(axis=0),
      rng.standard_normal((features.shape[1] + 1, 4)),
  )
  return {'mean_fraction': 0.3, **policy.to_json(choice)}


@pytest.mark.parametrize(
    'changes',
    [
        {'name': 'fixed'},
        {'name': 'none'},
        {'name': 'learned', 'capacity': 1.0},
        {'name': 'entropy', 'increment': 0.4},
        {'name': 'entropy', 'growth': 'geometric', 'multiple': 2}
        | {'signal': 'unigram_entropy', 'window': 4, 'aggregate': 'p90'}
        | {'capacity': 1.0, 'increment': 0.5},
        {'name': 'entropy', 'reduce': False, 'signal': 'compression_ratio'},
    ],
)
def test_an_export_gives_prompts_the_prefixes_that_we_do(
    model, tmp_path, monkeypatch, changes
):
  prefix = model.config['prefix'] | changes
  if prefix['name'] in policies.fitted_names():
    prefix['fitted'] = fitted(prefix)
  model = dataclasses.replace(model, config={**model.config, 'prefix': prefix})
  hugging_face.write(model, tmp_path, tokenizer='bytes')
  monkeypatch.syspath_prepend(tmp_path.parent)
  exported = importlib.import_module(f'{tmp_path.name}.prefix_jrt')
  config = types.SimpleNamespace(**read_json(tmp_path / 'config.json'))
  actual = [exported.prefix_length(tokens, config) for tokens in PROMPTS]
  assert actual == [model.prefix_len(tokens) for tokens in PROMPTS]
  assert prefix['name'] == 'none' or len(set(actual)) > 3


def test_an_export_that_would_fill_other_prefixes_is_refused(
    tiny_config, tmp_path
):
  model = make_model(tiny_config, pad_mask='reference')
  prefix = model.config['prefix'] | {'name': 'entropy'}
  model = dataclasses.replace(model, config={**model.config, 'prefix': prefix})
  with pytest.raises(ValueError, match="must have .* got 'entropy'"):
    hugging_face.write(model, tmp_path, tokenizer='bytes')


def test_a_released_model_fills_its_prefix_with_spaces(tiny_config, tmp_path):
  model = make_model(tiny_config, pad_mask='reference')
  hugging_face.write(model, tmp_path, tokenizer='bytes')
  assert read_json(tmp_path / 'config.json')['prefix_pad_id'] == ord(' ')


def test_the_card_says_what_the_model_is(folder):
  card = (folder / 'README.md').read_text()
  assert (
      'layers (1 conv, 1 pla, 1 swa, 1 la, 1 attention, 1 gdn, 1 mamba2)'
      in card
  )
  assert 'first 8 tokens' in card
  assert '$' not in card


def test_the_card_says_that_a_run_is_unfinished(model, folder, tmp_path):
  card = (folder / 'README.md').read_text()
  steps = model.config['steps']
  assert f'for 7 of {steps:,} steps' in card
  done = dataclasses.replace(model, step=steps)
  hugging_face.write(done, tmp_path / 'done', tokenizer='bytes')
  card = (tmp_path / 'done' / 'README.md').read_text()
  assert f'for {steps:,} steps' in card


def test_what_a_folder_holds_is_not_overwritten(model, tmp_path):
  (tmp_path / 'README.md').write_text('mine')
  with pytest.raises(ValueError, match='must be an empty folder or a new one'):
    hugging_face.write(model, tmp_path, tokenizer='bytes')
  assert [path.name for path in tmp_path.iterdir()] == ['README.md']
  assert (tmp_path / 'README.md').read_text() == 'mine'


def test_weights_that_were_changed_are_refused(folder):
  path = folder / 'model.safetensors'
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match='must be the file that was exported'):
    hugging_face.read(folder, base.get_config().to_dict())


def test_exports_of_earlier_versions_are_read(model, folder):
  arrays = weights.read_safetensors(folder / 'model.safetensors')
  earlier = {name.removeprefix('model.'): x for name, x in arrays.items()}
  weights.write_safetensors(folder / 'model.safetensors', earlier)
  config = read_json(folder / 'config.json')
  del config['weights_sha256']
  (folder / 'config.json').write_text(json.dumps(config))
  _, params = hugging_face.read(folder, base.get_config().to_dict())
  for name, x in model.params.items():
    np.testing.assert_array_equal(params[name], x, err_msg=name)


def test_an_export_that_fails_leaves_nothing(model, tmp_path):
  with pytest.raises(FileNotFoundError):
    hugging_face.write(model, tmp_path / 'hf', tokenizer='/no/tokenizer.json')
  assert not list(tmp_path.iterdir())
