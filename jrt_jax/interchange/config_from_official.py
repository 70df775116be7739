"""A config of ours out of the config.json of HazyResearch's models.

Where it leaves a key out, the default of the released code is taken.
"""

from collections.abc import Mapping
import functools
import json
from typing import Any

from jrt_jax.interchange import official_names as names

_MASK_ID = 50_263  # of every released model that was trained with masks


def from_official(
    official: Mapping[str, Any], base: Mapping[str, Any], *, mlp_width: int
) -> dict[str, Any]:
  """Returns the config of a run that could have trained the model.

  Padding, the boundary of the prefix and token 0 are what they are in the
  released code: `reference`.

  Args:
    official: what config.json holds.
    base: `configs/base.py` as nested dicts, for all that config.json leaves
      open.
    mlp_width: M, as the weights have it: config.json does not always tell.

  Raises:
    ValueError: config.json is not that of a model which ours can be.
  """
  _check_always(official)
  slots = [_slot(official, i) for i in range(_integer(official, 'n_layer'))]
  mixers = {slot: _mixer(official, slot) for slot in dict.fromkeys(slots)}
  kinds = {slot: _kind(mixer, slot) for slot, mixer in mixers.items()}
  vocab_size = _vocab_size(official)
  number = functools.partial(
      _get, official, types=(int, float), wanted='a number'
  )
  model = {
      'mixers': [kinds[slot] for slot in slots],
      'width': _integer(official, 'n_embd'),
      'num_heads': _integer(official, 'n_head'),
      'mlp_width': mlp_width,
      'vocab_size': vocab_size,
      'mask_id': min(_MASK_ID, vocab_size - 1),
      'rope_base': number('rotary_emb_base', 10_000.0),
      'rope_fraction': number('rotary_emb_fraction', 0.0),
      'norm_eps': number('layer_norm_epsilon', 1e-5),
      'init_std': number('initializer_range', 0.02),
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
          f' {json.dumps(official[key])}'
      )


def _slot(official, layer):
  """Which key of config.json describes the mixer of a layer."""
  for slot in ('alt_mixer_2', 'alt_mixer'):
    key = f'{slot}_layers'
    layers = _get(official, key, None, (list, type(None)), 'a list or null')
    if layer in (layers or ()):
      return slot
  return 'mixer'


def _mixer(official, slot):
  wanted = 'an object or null'
  return _get(official, slot, None, (dict, type(None)), wanted) or {}


def _kind(mixer, slot):
  if not mixer:
    return 'attention'
  name = str(mixer.get('_target_')).split('.')[-1]
  if name not in names.KINDS:
    raise ValueError(
        f'config.json: {slot}._target_ must end with one of'
        f' {", ".join(names.KINDS)}, got {mixer.get("_target_")!r}'
    )
  return names.KINDS[name]


def _settings(kind, mixer, slot):
  """What a mixer says of the whole model, in our keys."""
  integer = functools.partial(_integer, mixer, where=f'{slot}.')
  settings = {}
  if kind == 'conv':
    settings['conv_kernel'] = integer('kernel_size', 3)
    settings['conv_expand'] = integer('expand_proj', 2)
  if kind == 'swa':
    # Half of it lies before the query, whose own key is seen as well.
    settings['window'] = integer('window_size', 128) // 2 + 1
  if kind in ('la', 'pla'):
    _check_features(mixer, slot)
    settings['num_heads'] = integer('num_heads', 16)
    settings['feature_map'] = {
        'name': 'taylor_exp',
        'order': 2,
        'feature_dim': integer('feature_dim', 16),
    }
  if kind == 'pla':
    settings['enc_length'] = integer('enc_length')
    settings['l_max'] = integer('l_max', 2048)
  return settings


def _check_features(mixer, slot):
  """Raises ValueError unless features are Taylor's, of all of a head."""
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
      raise ValueError(f'config.json: {slot}.{key} must be {needed}, got {got}')


def _merge(settings, new, slot):
  """Adds `new` settings; layers of one model share them."""
  for key, value in new.items():
    if settings.setdefault(key, value) != value:
      raise ValueError(
          f'config.json: {slot} must have the {key} of the other layers,'
          f' {settings[key]}, got {value}'
      )


def _task(base, enc_length, length):
  """What a run with such a prefix trains on; None: a causal model."""
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
  size = _integer(official, 'vocab_size', 50_257)
  multiple = _integer(official, 'pad_vocab_size_multiple', 1, least=1)
  return -(-size // multiple) * multiple


def _integer(official, key, default=None, *, least=0, where=''):
  value = _get(official, key, default, int, 'a whole number', where)
  if value < least:
    raise ValueError(
        f'config.json: {where}{key} must be at least {least}, got {value}'
    )
  return value


def _get(official, key, default, types, wanted, where=''):
  """The value of a key, which must be of `types`: `wanted`, in words."""
  value = official.get(key, default)
  if isinstance(value, bool) or not isinstance(value, types):
    raise ValueError(
        f'config.json: {where}{key} must be {wanted}, got {json.dumps(value)}'
    )
  return value
