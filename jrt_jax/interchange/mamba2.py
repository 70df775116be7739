"""Reads models of Mamba-2: those of transformers, and those of its authors.

A folder has config.json and the weights. Our models have the same layers,
without MLPs. What transformers stacks in one matrix, we have apart: the
projections to the gate, to x, to B and C and to Δ, and the convolutions of x
and of B and C.

Source: `Mamba2ForCausalLM` of transformers; https://github.com/state-spaces/mamba.
"""

from collections.abc import Mapping
import math
import os
import pathlib
from typing import Any

import numpy as np

from configs.base import RANGES
from jrt_jax import foreign
from jrt_jax import models
from jrt_jax import weights
from jrt_jax.schema import AnyOf
from jrt_jax.schema import Anything
from jrt_jax.schema import Fields
from jrt_jax.schema import Flag
from jrt_jax.schema import ListOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import shown
from jrt_jax.schema import Whole

Path = str | os.PathLike
Params = dict[str, np.ndarray]

_HEAD, _TABLE = 'lm_head.weight', 'backbone.embeddings.weight'

_MODEL = RANGES['model']
_OWN = _MODEL['mamba2']
_DEPTH = Whole(1, 512)
_NONE = AnyOf(OneOf(None), ListOf(Anything(), 0, 0))

# Keys of transformers, of which only some values are ours.
TRANSFORMERS = Fields(
    {'model_type': OneOf('mamba2')},
    optional={
        'num_heads': _OWN['num_heads'],
        'head_dim': _OWN['head_dim'],
        'state_size': _OWN['state_dim'],
        'n_groups': _OWN['num_groups'],
        'conv_kernel': _OWN['conv_kernel'],
        'hidden_size': _MODEL['width'],
        'num_hidden_layers': _DEPTH,
        'vocab_size': _MODEL['vocab_size'],
        'layer_norm_epsilon': _MODEL['norm_eps'],
        'initializer_range': _MODEL['init_std'],
        'residual_in_fp32': Flag(),
        'use_bias': OneOf(False),
        'use_conv_bias': Flag(),
        'hidden_act': OneOf('silu', 'swish'),
        'rms_norm': OneOf(True),
        'time_step_limit': ListOf(Anything(), 2, 2),
    },
    others=Anything(),
)
_DEFAULTS = {  # of transformers
    'num_heads': 128,
    'head_dim': 64,
    'state_size': 128,
    'n_groups': 8,
    'conv_kernel': 4,
    'hidden_size': 4096,
    'num_hidden_layers': 64,
    'vocab_size': 32_768,
    'layer_norm_epsilon': 1e-5,
    'residual_in_fp32': True,
}

# Keys of the authors' package.
STATE_SPACES = Fields(
    {'d_model': _MODEL['width'], 'n_layer': _DEPTH},
    optional={
        'd_intermediate': OneOf(0),
        'vocab_size': _MODEL['vocab_size'],
        'pad_vocab_size_multiple': _MODEL['vocab_multiple'],
        'attn_layer_idx': _NONE,
        'rms_norm': OneOf(True),
        'residual_in_fp32': Flag(),
        'tie_embeddings': Flag(),
        'ssm_cfg': Fields(
            {'layer': OneOf('Mamba2')},
            optional={
                'd_state': _OWN['state_dim'],
                'd_conv': _OWN['conv_kernel'],
                'expand': Whole(1, 2**6),
                'headdim': _OWN['head_dim'],
                'ngroups': _OWN['num_groups'],
                'chunk_size': Whole(1, 2**22),  # changes no result
            },
        ),
    },
    others=Anything(),
)


def read(folder: Path, base: Mapping[str, Any]) -> tuple[dict, Params]:
  """Returns (config, params) of a run that could have trained the model.

  See `official.read`.
  """
  folder = pathlib.Path(folder)
  path = folder / 'config.json'
  found = foreign.read_json(path, foreign.OBJECT)
  tokenizer = folder / 'tokenizer.json'
  config = {
      **base,
      'model': model_config(found, f'{path}:', base['model']),
      'prefix': {**base['prefix'], 'name': 'none'},
      'objective': {**base['objective'], 'name': 'next_token'},
      'data': {
          **base['data'],
          'tokenizer': str(tokenizer) if tokenizer.exists() else '',
      },
  }
  arrays = {
      name.replace('backbone.embedding.', 'backbone.embeddings.'): x
      for name, x in weights.read(folder).items()
  }
  has_conv_bias = found.get('use_conv_bias', True)
  return config, _params(arrays, config['model'], has_conv_bias, folder)


def model_config(
    found: Mapping[str, Any], place: str, base: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns `config.model` of a run that could have trained the model.

  Args:
    found: the content of config.json, of transformers or of the authors.
    place: where it is from, with a colon, for messages.
    base: `config.model` of `configs/base.py`, for all other keys.

  Raises:
    ValueError: our models cannot compute the model.
  """
  theirs = _of_transformers(found, place)
  in_float32 = theirs['residual_in_fp32']
  return {
      **base,
      'mixers': ['mamba2'] * theirs['num_hidden_layers'],
      'width': theirs['hidden_size'],
      'num_heads': theirs['num_heads'],
      'mlp_width': 0,
      'vocab_size': theirs['vocab_size'],
      'mask_id': theirs['vocab_size'] - 1,  # nothing is masked
      'norm_eps': theirs['layer_norm_epsilon'],
      'init_std': theirs.get('initializer_range', base['init_std']),
      'residual_dtype': 'float32' if in_float32 else base['dtype'],
      'mamba2': {
          'num_heads': theirs['num_heads'],
          'head_dim': theirs['head_dim'],
          'state_dim': theirs['state_size'],
          'num_groups': theirs['n_groups'],
          'conv_kernel': theirs['conv_kernel'],
      },
  }


def _of_transformers(config, place):
  """The config with the keys of transformers, whosever it is."""
  if 'ssm_cfg' in config:
    STATE_SPACES.check(place, config)
    config = _from_state_spaces(config)
  TRANSFORMERS.check(place, config)
  low, high = config.get('time_step_limit', (0, math.inf))
  if isinstance(high, Mapping):  # as newer versions write it
    high = high.get('__float__')
  if (low, str(high).lower()) not in ((0, 'inf'), (0, 'infinity')):
    raise ValueError(
        f'{place} time_step_limit must be [0, Infinity], got'
        f' {shown(config["time_step_limit"])}'
    )
  theirs = _DEFAULTS | config
  heads, groups = theirs['num_heads'], theirs['n_groups']
  if heads % groups:
    raise ValueError(
        f'{place} num_heads must be a multiple of n_groups={groups}, got'
        f' {heads}'
    )
  return theirs


def _from_state_spaces(config):
  """The keys of transformers for a config of the authors' package."""
  own = config['ssm_cfg']
  multiple = config.get('pad_vocab_size_multiple', 8)
  head_dim = own.get('headdim', 64)
  return {
      'model_type': 'mamba2',
      'hidden_size': config['d_model'],
      'num_hidden_layers': config['n_layer'],
      'vocab_size': -(-config.get('vocab_size', 50_277) // multiple) * multiple,
      'num_heads': own.get('expand', 2) * config['d_model'] // head_dim,
      'head_dim': head_dim,
      'state_size': own.get('d_state', 128),
      'n_groups': own.get('ngroups', 1),
      'conv_kernel': own.get('d_conv', 4),
      'residual_in_fp32': config.get('residual_in_fp32', True),
  }


def _params(arrays, model, has_conv_bias, folder):
  """Parameters by our names, from arrays by their names."""
  wanted = _shapes(model, has_conv_bias)
  if _HEAD in arrays:  # safetensors may omit tied weights
    wanted[_HEAD] = wanted[_TABLE]
  weights.check_shapes(arrays, wanted, folder)
  weights.check_tied(arrays, _HEAD, _TABLE, folder)
  arrays = {name: x.astype(np.float32) for name, x in arrays.items()}
  table = arrays[_TABLE]
  _, ours = models.abstract(model)
  rows, _ = ours['embedding.embedding'].shape
  params = {
      'embedding.embedding': np.pad(table, [(0, rows - len(table)), (0, 0)]),
      'final_norm.scale': arrays['backbone.norm_f.weight'],
  }
  for i in range(len(model['mixers'])):
    start = f'backbone.layers.{i}.'
    layer = {
        name.removeprefix(start): x
        for name, x in arrays.items()
        if name.startswith(start)
    }
    layer = _layer(layer, model['mamba2'])
    params |= {f'layers.{i}.{name}': x for name, x in layer.items()}
  return params


def _layer(arrays, own):
  """The parameters of a layer by our names."""
  inner, shared = _sizes(own)
  parts = np.cumsum([inner, inner, shared])
  gate, x, bc, dt = np.split(arrays['mixer.in_proj.weight'], parts)
  taps = np.split(arrays['mixer.conv1d.weight'][:, 0], [inner])
  none = np.zeros(inner + shared, np.float32)
  biases = np.split(arrays.get('mixer.conv1d.bias', none), [inner])
  return {
      'mixer_norm.scale': arrays['norm.weight'],
      'mixer.proj_gate.kernel': gate.T,
      'mixer.proj_x.kernel': x.T,
      'mixer.proj_bc.kernel': bc.T,
      'mixer.proj_dt.kernel': dt.T,
      'mixer.conv_x.kernel': taps[0].T,
      'mixer.conv_x.bias': biases[0],
      'mixer.conv_bc.kernel': taps[1].T,
      'mixer.conv_bc.bias': biases[1],
      'mixer.decay.A_log': arrays['mixer.A_log'],
      'mixer.decay.dt_bias': arrays['mixer.dt_bias'],
      'mixer.skip': arrays['mixer.D'],
      'mixer.gain': arrays['mixer.norm.weight'],
      'mixer.out_proj.kernel': arrays['mixer.out_proj.weight'].T,
  }


def _shapes(model, has_conv_bias):
  """The shapes of the weights by their names in transformers."""
  E, own = model['width'], model['mamba2']
  H, K = own['num_heads'], own['conv_kernel']
  inner, shared = _sizes(own)
  layer = {
      'norm.weight': (E,),
      'mixer.in_proj.weight': (2 * inner + shared + H, E),
      'mixer.conv1d.weight': (inner + shared, 1, K),
      'mixer.A_log': (H,),
      'mixer.dt_bias': (H,),
      'mixer.D': (H,),
      'mixer.norm.weight': (inner,),
      'mixer.out_proj.weight': (E, inner),
  }
  if has_conv_bias:
    layer['mixer.conv1d.bias'] = (inner + shared,)
  return {
      _TABLE: (model['vocab_size'], E),
      'backbone.norm_f.weight': (E,),
      **{
          f'backbone.layers.{i}.{name}': shape
          for i in range(len(model['mixers']))
          for name, shape in layer.items()
      },
  }


def _sizes(own):
  """The widths of x, and of B and C together."""
  return (
      own['num_heads'] * own['head_dim'],
      2 * own['num_groups'] * own['state_dim'],
  )
