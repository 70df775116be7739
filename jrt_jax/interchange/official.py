"""Reads and writes HazyResearch's checkpoints of JRT, Based and attention.

A folder has config.json and the weights: pytorch_model.bin, or safetensors.
Its matrices are [outputs, inputs]; projections that share a matrix are stacked
along the outputs; the head is a copy of the embedding.

Source: https://github.com/HazyResearch/prefix-linear-attention.
"""

from collections.abc import Mapping
import functools
import json
import os
import pathlib
import re
from typing import Any

import jax
import numpy as np

from jrt_jax import foreign
from jrt_jax import models
from jrt_jax import weights
from jrt_jax.interchange import config_from_official
from jrt_jax.interchange import config_to_official

Path = str | os.PathLike
Params = dict[str, np.ndarray]

_EMBEDDING = 'embedding.embedding'
_HEAD = 'lm_head.weight'

# Parts of our names, and the names of the released code.
_PARTS = {
    'embedding.embedding': 'embeddings.word_embeddings.weight',
    'final_norm.scale': 'ln_f.weight',
    'mixer_norm.scale': 'norm1.weight',
    'mlp_norm.scale': 'norm2.weight',
    'conv.kernel': 'conv.conv.weight',
    'mixer.qkv': 'mixer.Wqkv',
    '.kernel': '.weight',
}

# Entries of state dicts that are not weights: a trainer's counters, and angles.
_NO_WEIGHT = re.compile('metrics|rotary_emb.inv_freq$')


def read(folder: Path, base: Mapping[str, Any]) -> tuple[dict, Params]:
  """Returns (config, params) of a run that could have trained the checkpoint.

  Args:
    folder: a folder with config.json, the weights (float32 or narrower), and
      possibly a tokenizer.json.
    base: `configs/base.py` as nested dicts, for all other keys.

  Returns:
    The config, and float32 parameters by our names. Rows of the embedding that
    pad the vocabulary are 0. Without tokenizer.json, the tokenizer is ''.

  Raises:
    OSError: a file is missing or cannot be read.
    ValueError: a file is damaged, our models cannot compute the released model,
      or weights are missing, unknown, or of another shape.
  """
  folder = pathlib.Path(folder)
  official = _read_config(folder / 'config.json')
  arrays = _cleaned(weights.read(folder))
  config = config_from_official.from_official(
      official, base, mlp_width=_mlp_width(arrays)
  )
  wanted = shapes(config['model'])
  if _HEAD not in arrays:  # safetensors may omit tied weights
    del wanted[_HEAD]
  weights.check_shapes(arrays, wanted, folder)
  weights.check_tied(arrays, _HEAD, _official_name(_EMBEDDING), folder)
  _, ours = models.abstract(config['model'])
  params = {
      name: _from_official(name, arrays[_official_name(name)], x.shape)
      for name, x in ours.items()
  }
  tokenizer = folder / 'tokenizer.json'
  known = str(tokenizer) if tokenizer.exists() else ''
  config['data'] = {**config['data'], 'tokenizer': known}
  return config, params


def write(
    folder: Path,
    config: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    use_torch: bool = False,
) -> None:
  """Writes a folder that `read` and the released code can read.

  Args:
    folder: an existing folder.
    config: the config of the run.
    params: float32 parameters, by our names.
    use_torch: whether to write pytorch_model.bin instead of
      model.safetensors.

  Raises:
    OSError: a file cannot be written.
    ValueError: the released code has no such model, or torch is missing.
  """
  folder = pathlib.Path(folder)
  text = json.dumps(config_to_official.to_official(config), indent=2) + '\n'
  vocab_size = config['model']['vocab_size']
  arrays = {
      _official_name(name): _to_official(name, np.asarray(x), vocab_size)
      for name, x in params.items()
  }
  arrays[_HEAD] = arrays[_official_name(_EMBEDDING)]
  if use_torch:
    weights.write_torch(folder / 'pytorch_model.bin', arrays)
  else:
    path = folder / 'model.safetensors'
    weights.write_safetensors(path, arrays, {'format': 'pt'})
  (folder / 'config.json').write_text(text)


def shapes(model: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
  """Returns the shapes of a model's weights by their official names.

  Args:
    model: `config.model` of a run.
  """
  to_official = functools.partial(_to_official, vocab_size=model['vocab_size'])
  result = {}
  for name, x in models.abstract(model)[1].items():
    array = jax.eval_shape(functools.partial(to_official, name), x)
    result[_official_name(name)] = array.shape
  return result | {_HEAD: result[_official_name(_EMBEDDING)]}


def _read_config(path):
  try:
    return foreign.read_json(path, config_from_official.SCHEMA)
  except FileNotFoundError as error:
    raise FileNotFoundError(
        f'DIR must hold config.json and weights, got {path.parent}, without'
        ' config.json'
    ) from error


def _cleaned(arrays):
  """The weights only, with the names of the present released code."""
  return {
      name.removeprefix('model.').replace('.conv1.', '.conv.'): x
      for name, x in arrays.items()
      if not _NO_WEIGHT.search(name)
  }


def _mlp_width(arrays):
  name = 'transformer.layers.0.mlp.fc2.weight'
  if name not in arrays or arrays[name].ndim != 2:
    raise ValueError(f'the weights must have {name}, a matrix')
  return arrays[name].shape[1]


def _official_name(name):
  for ours, theirs in _PARTS.items():
    name = name.replace(ours, theirs)
  return f'transformer.{name}'


def _to_official(name, x, vocab_size):
  """Converts our array to theirs; also works under `jax.eval_shape`."""
  if name == _EMBEDDING:
    return x[:vocab_size]
  if name.endswith('.conv.kernel'):  # [K, I]
    return x.T[:, None]
  if name.endswith('.kernel'):  # [inputs, *outputs]
    return x.reshape(len(x), -1).T
  return x.reshape(-1)


def _from_official(name, x, shape):
  """Converts their array to ours, of `shape`."""
  x = x.astype(np.float32)
  if name == _EMBEDDING:
    return np.pad(x, [(0, shape[0] - len(x)), (0, 0)])
  if name.endswith('.conv.kernel'):
    return x[:, 0].T
  if name.endswith('.kernel'):
    return x.T.reshape(shape)
  return x.reshape(shape)
