import math

import pytest

from configs import base
from jrt_jax.interchange import config_from_official
from jrt_jax.prefix import policies

BASE = base.get_config().to_dict()

# As the released training configuration of JRT-RNN 360M writes it.
LAYERS = {
    'alt_mixer_layers': [1, 6, 11, 16, 21],
    'alt_mixer_2_layers': [2, 7, 12, 17, 22],
    'n_layer': 26,
    'n_embd': 1024,
    'n_head': 16,
    'vocab_size': 50257,
}
JRT_360M = {
    'mixer': {},
    'alt_mixer': {'feature_dim': 16, 'num_heads': 16, 'enc_length': 1024},
    'alt_mixer_2': {'window_size': 256, 'num_heads': 16},
    **LAYERS,
}


def read(official, mlp_width=2048):
  return config_from_official.from_official(official, BASE, mlp_width=mlp_width)


def capacity(config):
  return policies.prefix_capacity(config['prefix'], config['sequence_length'])


def test_the_released_360m_model_is_the_default_config(official_config):
  config = read(official_config('jrt', **JRT_360M))
  changed = {
      'model': BASE['model']
      | {'mixers': [*BASE['model']['mixers']], 'pad_mask': 'reference'},
      'objective': BASE['objective']
      | {'boundary': 'reference', 'token_zero': 'reference'},
  }
  assert config == BASE | changed


def test_a_causal_model_has_no_prefix_and_predicts_next_tokens(official_config):
  config = read(official_config('based'))
  assert config['model']['mixers'] == ['conv', 'la', 'swa', 'conv']
  assert (config['prefix']['name'], capacity(config)) == ('none', 0)
  assert config['objective']['name'] == 'next_token'


def test_without_mixers_all_layers_are_softmax_attention():
  config = read(
      {
          'n_embd': 1024,
          'n_head': 16,
          'n_layer': 2,
          'rotary_emb_fraction': 0.5,
          'pad_vocab_size_multiple': 16,
      }
  )
  model = config['model']
  assert model['mixers'] == ['attention', 'attention']
  assert model['rope_fraction'] == 0.5
  assert (model['vocab_size'], model['mask_id']) == (50272, 50263)


@pytest.mark.parametrize(
    'window_size, window', [(256, 129), (128, 65), (8, 5), (9, 5), (0, 1)]
)
def test_half_of_the_window_lies_before_the_query(
    window_size, window, official_config
):
  mixer = {'window_size': window_size}
  config = read(official_config('jrt', alt_mixer_2=mixer))
  assert config['model']['window'] == window


@pytest.mark.parametrize('enc_length', [0, 1, 29, 1000, 1023, 2048, 3000])
def test_the_prefix_is_as_long_as_enc_length(enc_length, official_config):
  mixer = {'enc_length': enc_length, 'l_max': 2048}
  config = read(official_config('jrt', alt_mixer=mixer))
  assert capacity(config) == enc_length


def test_the_prefix_is_exact_in_sequences_of_every_length(official_config):
  for length in range(1, 60):
    for enc_length in range(length + 1):
      mixer = {'enc_length': enc_length, 'l_max': length}
      config = read(official_config('jrt', alt_mixer=mixer))
      assert config['sequence_length'] == length
      assert capacity(config) == enc_length


def test_settings_that_are_missing_have_the_official_defaults():
  package = 'based.models.mixers'
  config = read(
      {
          'n_embd': 256,
          'n_head': 16,
          'n_layer': 3,
          'mixer': {'_target_': f'{package}.convolution.BaseConv'},
          'alt_mixer': {
              '_target_': f'{package}.linear_attention.LinearAttention'
          },
          'alt_mixer_layers': [1],
          'alt_mixer_2': {
              '_target_': f'{package}.slide_attention.SlidingAttention'
          },
          'alt_mixer_2_layers': [2],
      }
  )
  expected = {
      'conv_kernel': 3,
      'conv_expand': 2,
      'feature_map': BASE['model']['feature_map'],
      'window': 65,
      'rope_fraction': 0.0,
      'vocab_size': 50257,
      'mask_id': 50256,
  }
  assert config['model'] == config['model'] | expected


def test_names_of_older_checkpoints_are_known(official_config):
  old = 'src.models.mixers'
  changes = {
      'mixer': {'_target_': f'{old}.base_conv.BaseConvWithSiLU4'},
      'alt_mixer': {
          '_target_': f'{old}.linear_attention.LinearAttention',
          'feature_map': {'_target_': f'{old}.linear_attention.TaylorExp'},
      },
      'alt_mixer_2': {'_target_': f'{old}.slide_fa2.SlidingsMHA'},
  }
  config = read(official_config('based', **changes))
  assert config['model'] == read(official_config('based'))['model']


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            {'activation_function': 'gelu_new'},
            'activation_function must be "sw',
        ),
        ({'rms_norm': False}, 'rms_norm must be true, got False'),
        ({'tie_word_embeddings': False}, 'tie_word_embeddings must be true'),
        ({'fixed_decay': True}, 'fixed_decay must be false, got True'),
        ({'n_embd': '64'}, "n_embd must be a whole number .*, got '64'"),
        ({'n_layer': None}, 'n_layer must be a whole number .*, got None'),
        ({'n_layer': 10**8}, 'n_layer must be .* to 512, got 100000000'),
        ({'n_head': True}, 'n_head must be a whole number .*, got True'),
        ({'vocab_size': -1}, 'vocab_size must be a whole number .*, got -1'),
        ({'pad_vocab_size_multiple': 0}, 'multiple must be a whole .*, got 0'),
        ({'layer_norm_epsilon': math.nan}, 'epsilon must be a number .* nan'),
        ({'rotary_emb_base': 0}, 'rotary_emb_base must be a number .* got 0'),
        (
            {'mixer': {'_target_': 'mamba.Mamba'}},
            'mixer._target_ must end with',
        ),
        (
            {'mixer': 'conv'},
            "mixer must be None or an object with keys, got 'conv'",
        ),
        ({'alt_mixer': {'enc_length': None}}, 'alt_mixer.enc_length must be a'),
        ({'alt_mixer': {'l_max': '${x}'}}, 'alt_mixer.l_max must be a whole'),
        ({'alt_mixer': {'l_max': 10**12}}, 'alt_mixer.l_max must be a whole'),
        ({'alt_mixer': {'feature_map': []}}, 'alt_mixer.feature_map must be'),
        (
            {'alt_mixer': {'feature_name': 'relu'}},
            'feature_name must be taylor',
        ),
        (
            {'alt_mixer': {'scale_dim': 16}},
            'alt_mixer.scale_dim must be 8, got',
        ),
        ({'alt_mixer': {'num_heads': 2}}, 'num_heads of the other layers, 4, '),
        ({'alt_mixer_layers': 1}, 'alt_mixer_layers must be None or a list'),
        ({'rotary_emb_fraction': 'x'}, 'rotary_emb_fraction must be a number'),
    ],
)
def test_what_our_models_cannot_be_is_one_line(
    changes, message, official_config
):
  with pytest.raises(ValueError, match=message) as error:
    read(official_config('jrt', **changes))
  assert len(str(error.value).splitlines()) == 1
