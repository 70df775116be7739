import importlib
import pathlib

import pytest

import configs
from configs import base
from jrt_jax.interchange import config_from_official
from jrt_jax.interchange import config_to_official
from jrt_jax.prefix import policies

BASE = base.get_config().to_dict()
SHIPPED = sorted(
    path.stem
    for path in pathlib.Path(configs.__path__[0]).glob('*.py')
    # A recorded one is that of any run; others have MLPs or mixers that the
    # official format has no place for.
    if path.stem not in ('__init__', 'recorded', 'synthetic')
    and path.stem not in ('attention_tiny', 'based_tiny')
    and not path.stem.removeprefix('prefix_').startswith(('gdn_', 'mamba2_'))
)


def read(official, mlp_width):
  return config_from_official.from_official(official, BASE, mlp_width=mlp_width)


def change(**model):
  return BASE | {'model': BASE['model'] | model}


@pytest.mark.parametrize('name', SHIPPED)
def test_every_shipped_config_is_read_back(name):
  config = importlib.import_module(f'configs.{name}').get_config().to_dict()
  model = config['model']
  again = read(config_to_official.to_official(config), model['mlp_width'])
  for key in (
      'pad_mask',
      'dtype',
      'vocab_multiple',
  ):  # it has no place for them
    again['model'][key] = model[key]
  assert again['model'] == model | {'mixers': [*model['mixers']]}
  assert policies.prefix_capacity(
      again['prefix'], again['sequence_length']
  ) == policies.prefix_capacity(config['prefix'], config['sequence_length'])


@pytest.mark.parametrize('name', ['jrt', 'based'])
def test_it_says_what_the_official_one_says(name, official_config):
  theirs = official_config(name)
  ours = config_to_official.to_official(read(theirs, mlp_width=256))
  assert theirs.keys() - ours.keys() == {'special_initializer'}  # of training
  # The same sizes in other words: rounded up there, as they are here.
  rounded = {'vocab_size', 'pad_vocab_size_multiple', 'n_inner'}
  for key in theirs.keys() - rounded - {'special_initializer'}:
    if 'mixer' not in key or 'layers' in key:
      assert ours[key] == theirs[key], key
      continue
    for setting in theirs[key].keys() & ours[key].keys() - {'dec_length'}:
      assert ours[key][setting] == theirs[key][setting], (key, setting)


def test_softmax_attention_is_the_mixer_that_is_null():
  config = change(mixers=('conv', 'attention', 'swa'))
  official = config_to_official.to_official(config)
  assert official['mixer'] is None
  assert official['alt_mixer_layers'] == [0]
  assert official['alt_mixer_2_layers'] == [2]


@pytest.mark.parametrize(
    'model, message',
    [
        ({'normalizer': 'none'}, 'normalizer must be sum for the official'),
        (
            {'feature_map': {'name': 'identity', 'feature_dim': 16}},
            'feature_map.name must be taylor_exp',
        ),
        (
            {'pla': {'prefix_reader': 'ridge', 'causal_in_prefix': True}},
            'pla.prefix_reader must be sum for the official format, got ridge',
        ),
        (
            {'pla': {'prefix_reader': 'sum', 'causal_in_prefix': False}},
            'pla.causal_in_prefix must be True for the official format',
        ),
        ({'sinks': 4}, 'sinks must be 0 for the official format, got 4'),
        ({'residual_dtype': 'bfloat16'}, 'residual_dtype must be float32 for'),
        ({'mlp_width': 2000}, 'mlp_width must be a multiple of 256'),
        ({'mlp_width': 0}, 'mlp_width must be a multiple of 256, at least'),
        (
            {'mixers': ('conv', 'pla', 'la', 'swa')},
            'mixers must name at most 3 kinds',
        ),
    ],
)
def test_what_the_official_code_cannot_do_is_one_line(model, message):
  with pytest.raises(ValueError, match=f'config.model.{message}') as error:
    config_to_official.to_official(change(**model))
  assert len(str(error.value).splitlines()) == 1


def test_a_mixer_that_it_does_not_know_is_named():
  config = change(mixers=('conv', 'gdn'), mlp_width=256)
  with pytest.raises(
      ValueError, match='config.model.mixers must be among .*gdn$'
  ):
    config_to_official.to_official(config)
