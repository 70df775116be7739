"""Converts our config to the config.json of HazyResearch's models."""

from collections.abc import Mapping
from typing import Any

from jrt_jax.interchange import official_names as names
from jrt_jax.prefix import policies

# Further keys that the released code needs to build such a model.
_BUILD = {
    'max_position_embeddings': 0,
    'embd_pdrop': 0,
    'attn_pdrop': 0,
    'resid_pdrop': 0,
    'qkv_proj_bias': False,
    'out_proj_bias': False,
    'mlp_fc1_bias': False,
    'mlp_fc2_bias': False,
    'fused_mlp': False,
    'fused_bias_fc': True,
    'fused_dropout_add_ln': True,
    'residual_in_fp32': True,
    'reorder_and_upcast_attn': False,
    'use_flash_attn': True,
}

_MLP_MULTIPLE = 256  # the released code rounds hidden widths up to it


def to_official(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the content of config.json for one of our models.

  Args:
    config: the config of a run, with the keys of `configs/base.py`.

  Raises:
    ValueError: the released code has no such model.
  """
  model = config['model']
  _check_known(model)
  # Softmax attention must be `mixer`, as null; no other key can mean it.
  kinds = sorted(
      dict.fromkeys(model['mixers']), key=lambda kind: kind != 'attention'
  )
  if len(kinds) > len(names.SLOTS):
    raise ValueError(
        f'config.model.mixers must name at most {len(names.SLOTS)} kinds of'
        f' layers for the official format, got {", ".join(kinds)}'
    )
  official = {
      'n_embd': model['width'],
      'n_head': model['num_heads'],
      'n_layer': len(model['mixers']),
      'n_inner': model['mlp_width'],
      'vocab_size': model['vocab_size'],
      'pad_vocab_size_multiple': 1,
      'layer_norm_epsilon': model['norm_eps'],
      'initializer_range': model['init_std'],
      'rotary_emb_base': model['rope_base'],
      'rotary_emb_fraction': model['rope_fraction'],
      **names.ALWAYS,
      **_BUILD,
  }
  for slot, kind in zip(names.SLOTS, kinds):
    official[slot] = _mixer(kind, config)
    if slot != 'mixer':
      official[f'{slot}_layers'] = [
          i for i, name in enumerate(model['mixers']) if name == kind
      ]
  return official


def _check_known(model):
  """Raises ValueError for settings that the released code does not support."""
  normalizer, feature_map = model['normalizer'], model['feature_map']
  for key, got, needed in (
      ('pla.prefix_reader', model['pla']['prefix_reader'], 'sum'),
      ('pla.causal_in_prefix', model['pla']['causal_in_prefix'], True),
      ('normalizer', 'sum' if normalizer == 'auto' else normalizer, 'sum'),
      ('feature_map.name', feature_map['name'], 'taylor_exp'),
      ('residual_dtype', model['residual_dtype'], 'float32'),
      ('feature_map.order', feature_map.get('order', 2), 2),
      ('sinks', model['sinks'] if 'swa' in model['mixers'] else 0, 0),
  ):
    if got != needed:
      raise ValueError(
          f'config.model.{key} must be {needed} for the official format, got'
          f' {got}'
      )
  known = 'attention', *names.TARGETS
  if others := sorted({*model['mixers']} - {*known}):
    raise ValueError(
        f'config.model.mixers must be among {", ".join(known)} for the official'
        f' format, got {", ".join(others)}'
    )
  if not model['mlp_width'] or model['mlp_width'] % _MLP_MULTIPLE:
    raise ValueError(
        f'config.model.mlp_width must be a multiple of {_MLP_MULTIPLE}, at'
        f' least {_MLP_MULTIPLE}, for the official format, got'
        f" {model['mlp_width']}"
    )


def _mixer(kind, config):
  """The entry of config.json for a kind of layer; None: softmax attention."""
  if kind == 'attention':
    return None
  model = config['model']
  length = config['sequence_length']
  mixer = {'_target_': names.TARGETS[kind]}
  if kind == 'swa':
    return mixer | {
        'num_heads': model['num_heads'],
        'window_size': 2 * (model['window'] - 1),
        'causal': True,
    }
  mixer['l_max'] = length
  if kind == 'conv':
    return mixer | {
        'use_bias': True,
        'kernel_size': model['conv_kernel'],
        'expand_proj': model['conv_expand'],
    }
  feature_dim = model['feature_map']['feature_dim']
  mixer |= {'num_heads': model['num_heads'], 'feature_dim': feature_dim}
  if kind == 'la':
    feature_map = {'_target_': names.TAYLOR, 'input_dim': feature_dim}
    return mixer | {
        'feature_map': feature_map,
        'parallel_implementation': 'quadratic',
    }
  enc_length = policies.prefix_capacity(config['prefix'], length)
  return mixer | {
      'feature_name': 'taylor_exp',
      'num_key_value_heads': model['num_heads'],
      'enc_length': enc_length,
      'dec_length': length - enc_length,
      'implementation': 'default',
      'use_mask': True,
  }
