"""Converts the config.json of HazyResearch's models to our config.

A missing key has the default of the released code.
"""

from collections.abc import Mapping
import json
from typing import Any

from configs.base import RANGES
from jrt_jax import foreign
from jrt_jax.interchange import official_names as names
from jrt_jax.schema import AnyOf
from jrt_jax.schema import Anything
from jrt_jax.schema import Fields
from jrt_jax.schema import ListOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import shown
from jrt_jax.schema import Text
from jrt_jax.schema import Whole

_MASK_ID = 50_263  # in all released models that were trained with masks

_NULL = OneOf(None)
_MODEL = RANGES['model']
_MAP = _MODEL['feature_map']
_LENGTH = Whole(0, 2**22)
_MIXER = Fields(
    {},
    optional={
        '_target_': AnyOf(_NULL, Text()),
        'kernel_size': _MODEL['conv_kernel'],
        'expand_proj': _MODEL['conv_expand'],
        'window_size': _LENGTH,
        'num_heads': _MODEL['num_heads'],
        'feature_dim': _MAP['feature_dim'],
        'feature_map': AnyOf(_NULL, foreign.OBJECT),
        'enc_length': _LENGTH,
        'l_max': RANGES['sequence_length'],
    },
    others=Anything(),
)
_LAYERS = AnyOf(_NULL, ListOf(Whole(0, 10**6), 0, 512))
SCHEMA = Fields(
    {
        'n_layer': Whole(1, 512),
        'n_embd': _MODEL['width'],
        'n_head': _MODEL['num_heads'],
    },
    optional={
        'vocab_size': _MODEL['vocab_size'],
        'pad_vocab_size_multiple': _MODEL['vocab_multiple'],
        'rotary_emb_base': _MODEL['rope_base'],
        'rotary_emb_fraction': _MODEL['rope_fraction'],
        'layer_norm_epsilon': _MODEL['norm_eps'],
        'initializer_range': _MODEL['init_std'],
        'alt_mixer_layers': _LAYERS,
        'alt_mixer_2_layers': _LAYERS,
        **{slot: AnyOf(_NULL, _MIXER) for slot in names.SLOTS},
    },
    others=Anything(),
)


def from_official(
    official: Mapping[str, Any], base: Mapping[str, Any], *, mlp_width: int
) -> dict[str, Any]:
  """Returns the config of a run that could have trained the model.

  Padding, the boundary of the prefix and token 0 are handled as in the released
  code (`reference`).

  Args:
    official: the content of config.json.
    base: `configs/base.py` as nested dicts, for all other keys.
    mlp_width: M, from the weights: config.json does not always have it.

  Raises:
    ValueError: our models cannot compute the model of config.json.
  """
  SCHEMA.check('config.json:', official)
  _check_always(official)
  slots = [_slot(official, i) for i in range(official['n_layer'])]
  mixers = {s: official.get(s) or {} for s in dict.fromkeys(slots)}
  kinds = {slot: _kind(mixer, slot) for slot, mixer in mixers.items()}
  vocab_size = _vocab_size(official)
  model = {
      'mixers': [kinds[slot] for slot in slots],
      'width': official['n_embd'],
      'num_heads': official['n_head'],
      'mlp_width': mlp_width,
      'vocab_size': vocab_size,
      'mask_id': min(_MASK_ID, vocab_size - 1),
      'rope_base': official.get('rotary_emb_base', 10_000.0),
      'rope_fraction': official.get('rotary_emb_fraction', 0.0),
      'norm_eps': official.get('layer_norm_epsilon', 1e-5),
      'init_std': official.get('initializer_range', 0.02),
      'pad_mask': 'reference',
  }
  settings = {'num_heads': model['num_heads']}
  for slot, mixer in mixers.items():
    _merge(settings, _settings(kinds[slot], mixer, slot), slot)
  enc_length = settings.pop('enc_length', None)
  length = settings.pop('l_max', base['sequence_length'])
  model = {**base['model'], **model, **settings}
  model['feature_map'] = {
      **base['model']['feature_map'],
      **model['feature_map'],
  }
  return {**base, **_task(base, enc_length, length), 'model': model}


def _check_always(official):
  for key, value in names.ALWAYS.items():
    if official.get(key, value) != value:
      raise ValueError(
          f'config.json: {key} must be {json.dumps(value)}, got'
          f' {shown(official[key])}'
      )


def _slot(official, layer):
  """The key of config.json that describes the mixer of a layer."""
  for slot in ('alt_mixer_2', 'alt_mixer'):
    if layer in (official.get(f'{slot}_layers') or ()):
      return slot
  return 'mixer'


def _kind(mixer, slot):
  if not mixer:
    return 'attention'
  name = str(mixer.get('_target_')).split('.')[-1]
  if name not in names.KINDS:
    raise ValueError(
        f'config.json: {slot}._target_ must end with one of'
        f' {", ".join(names.KINDS)}, got {shown(mixer.get("_target_"))}'
    )
  return names.KINDS[name]


def _settings(kind, mixer, slot):
  """The settings of the whole model that a mixer implies, with our keys."""
  settings = {}
  if kind == 'conv':
    settings['conv_kernel'] = mixer.get('kernel_size', 3)
    settings['conv_expand'] = mixer.get('expand_proj', 2)
  if kind == 'swa':
    # Half of it lies before the query; the query also sees its own key.
    settings['window'] = mixer.get('window_size', 128) // 2 + 1
  if kind in ('la', 'pla'):
    _check_features(mixer, slot)
    settings['num_heads'] = mixer.get('num_heads', 16)
    settings['feature_map'] = {
        'name': 'taylor_exp',
        'order': 2,
        'feature_dim': mixer.get('feature_dim', 16),
    }
  if kind == 'pla':
    if 'enc_length' not in mixer:
      raise ValueError(f'config.json: {slot}.enc_length must be given')
    settings['enc_length'] = mixer['enc_length']
    settings['l_max'] = mixer.get('l_max', 2048)
  return settings


def _check_features(mixer, slot):
  """Raises ValueError unless the features are Taylor's, of whole heads."""
  feature_map = mixer.get('feature_map') or {}
  D = mixer.get('feature_dim', 16)
  for key, got, needed in (
      ('feature_name', mixer.get('feature_name', 'taylor_exp'), 'taylor_exp'),
      ('scale_dim', mixer.get('scale_dim') or D, D),
      (
          'feature_map._target_',
          feature_map.get('_target_', names.TAYLOR),
          names.TAYLOR,
      ),
      ('feature_map.input_dim', feature_map.get('input_dim', D), D),
  ):
    if str(got).split('.')[-1] != str(needed).split('.')[-1]:
      raise ValueError(
          f'config.json: {slot}.{key} must be {needed}, got {shown(got)}'
      )


def _merge(settings, new, slot):
  """Adds `new` settings, which all layers of a model must share."""
  for key, value in new.items():
    if settings.setdefault(key, value) != value:
      raise ValueError(
          f'config.json: {slot} must have the {key} of the other layers,'
          f' {settings[key]}, got {value}'
      )


def _task(base, enc_length, length):
  """The objective of a run with such a prefix; None: a causal model."""
  prefix, objective = {'name': 'none'}, {'name': 'next_token'}
  if enc_length is not None:
    length = max(length, enc_length)
    prefix = {'name': 'fixed', 'capacity': enc_length / length}
    objective = {'name': 'jrt'}
  reference = {'boundary': 'reference', 'token_zero': 'reference'}
  return {
      'sequence_length': length,
      'prefix': {**base['prefix'], **prefix},
      'objective': {**base['objective'], **reference, **objective},
  }


def _vocab_size(official):
  size = official.get('vocab_size', 50_257)
  multiple = official.get('pad_vocab_size_multiple', 1)
  return -(-size // multiple) * multiple
