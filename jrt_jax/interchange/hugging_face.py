"""Exports a model as a directory for transformers, and reads it back.

config.json             `JrtConfig`: the settings of the model
generation_config.json  ids that end a text, and ids that must not be generated
model.safetensors       float32 weights with PyTorch's names and layout
tokenizer.json, tokenizer_config.json
README.md               the model card
*_jrt.py                the model in PyTorch, `jrt_jax.interchange.remote_code`,
                        and the signals of its prefix policy, `prefix.signals`
"""

from collections.abc import Mapping
import json
import os
import pathlib
import shutil
import string
from typing import Any

import numpy as np

from configs.base import RANGES
from jrt_jax import foreign
from jrt_jax import models
from jrt_jax import weights
from jrt_jax.generation.model import Model
from jrt_jax.interchange import exported_tokenizer
from jrt_jax.interchange import folders
from jrt_jax.interchange import pytorch_twins
from jrt_jax.prefix import fitting
from jrt_jax.prefix import policies
from jrt_jax.prefix import signals
from jrt_jax.schema import Anything
from jrt_jax.schema import Fields
from jrt_jax.schema import OneOf
from jrt_jax.training import recorded_config
from jrt_jax.training import workdirs

_HERE = pathlib.Path(__file__).parent
_WEIGHTS = 'model.safetensors'
_BASE = 'model.'  # PyTorch's prefix for all parameters but the head
_TABLE, _PADDING = f'{_BASE}embed_tokens.weight', 'vocabulary_padding'
_GROUPS = '.mixer.groups.'  # parameters by head: the same layout in PyTorch
_WEIGHT = ('kernel', 'scale', 'embedding')  # what PyTorch calls `weight`

_SCHEMA = Fields(
    {
        'model_type': OneOf('jrt'),
        'model': RANGES['model'],
        'sequence_length': RANGES['sequence_length'],
        'training': {
            'prefix': fitting.SETTINGS,
            'objective': RANGES['objective'],
            'tokenizer': OneOf('bytes', 'tokenizer.json'),
        },
    },
    others=Anything(),
)

Path = str | os.PathLike
Params = dict[str, np.ndarray]


def write(model: Model, out: Path, *, tokenizer: str) -> None:
  """Writes a model as a Hugging Face directory, without torch.

  Args:
    model: the model of a run, with float32 weights.
    out: the directory; it is empty or is created.
    tokenizer: the path of its tokenizer, or 'bytes'.

  Raises:
    ValueError: `out` is not empty, the weights were rounded, or the exported
      model would read prompts differently.
    OSError: `out` cannot be written.
  """
  if any(x.dtype != np.float32 for x in model.params.values()):
    raise ValueError(
        'model must be loaded with exact=True, got rounded weights'
    )
  pytorch_twins.check(model.config)
  _check_reading(model.config)
  with folders.whole(pathlib.Path(out)) as new:
    exported_tokenizer.write(new, tokenizer, model.tokenizer.eos_id)
    for file in (_HERE / 'remote_code').glob('*_jrt.py'):
      shutil.copyfile(file, new / file.name)
    shutil.copyfile(signals.__file__, new / 'signals_jrt.py')
    _write_json(new / 'generation_config.json', _generation(model))
    (new / 'README.md').write_text(_card(model))
    arrays = to_torch(model.params, model.config['model']['vocab_size'])
    weights.write_safetensors(new / _WEIGHTS, arrays, {'format': 'pt'})
    config = _config(model, exported_tokenizer.kind(tokenizer))
    config['weights_sha256'] = weights.sha256(new / _WEIGHTS)
    _write_json(new / 'config.json', config)


def read(
    folder: Path, base: Mapping[str, Any]
) -> tuple[dict[str, Any], Params]:
  """Returns the config and the parameters of an exported model.

  They are equal to those of the run, bit for bit, unless transformers has saved
  other weights since. In that case, rows of the embedding without a token are
  0.

  Args:
    folder: a folder that `write` has written.
    base: `configs/base.py` as nested dicts, for keys that are not exported.

  Raises:
    FileNotFoundError: there is no config.json or no model.safetensors.
    ValueError: the folder has another kind of model, is damaged, has missing or
      unknown tensors (the message names them), or has other weights than those
      that were exported.
  """
  folder = pathlib.Path(folder)
  path = folder / 'config.json'
  exported = foreign.read_json(path, _SCHEMA)
  training = exported['training']
  tokenizer = exported_tokenizer.find(folder, training['tokenizer'])
  given = {
      **base,
      'model': exported['model'],
      'prefix': training['prefix'],
      'objective': training['objective'],
      'sequence_length': exported['sequence_length'],
      'data': {**base['data'], 'tokenizer': tokenizer},
  }
  config = recorded_config.complete(given)  # an older export lacks newer keys
  recorded_config.check_model(f'{path}:', config)
  # Weights that transformers saved, or an earlier version, have no digest.
  if (digest := exported.get('weights_sha256')) is not None:
    weights.check_sha256(folder / _WEIGHTS, digest)
  arrays = _in_base(weights.read_safetensors(folder / _WEIGHTS))
  return config, from_torch(arrays, config['model'])


def to_torch(params: Mapping[str, Any], vocab_size: int) -> Params:
  """Returns parameters with the names and the layout of PyTorch.

  Rows of the embedding beyond `vocab_size` become a separate array, which
  `JrtForCausalLM` does not read.
  """
  arrays = {
      _torch_name(name): _to_torch(name, np.asarray(x))
      for name, x in params.items()
  }
  table = arrays[_TABLE]
  return arrays | {_TABLE: table[:vocab_size], _PADDING: table[vocab_size:]}


def from_torch(
    arrays: Mapping[str, np.ndarray], model: Mapping[str, Any]
) -> Params:
  """Returns the flat dict of parameters; the inverse of `to_torch`.

  Args:
    arrays: arrays by their names in PyTorch.
    model: `config.model`.

  Raises:
    ValueError: names or sizes are not those of the model.
  """
  _, shapes = models.abstract(model)
  names = {_torch_name(name): name for name in shapes}
  _check_names(arrays.keys() - {_PADDING}, names.keys())
  rows, width = shapes['embedding.embedding'].shape
  none = np.zeros((rows - model['vocab_size'], width), np.float32)
  table = np.concatenate([arrays[_TABLE], arrays.get(_PADDING, none)])
  arrays = {**arrays, _TABLE: table}
  return {
      name: _from_torch(name, arrays[torch_name], shapes[name].shape)
      for torch_name, name in names.items()
  }


def _torch_name(name):
  if name == 'embedding.embedding':
    return _TABLE
  if _GROUPS in name:
    return _BASE + name
  path, _, kind = name.rpartition('.')
  return f'{_BASE}{path}.{"weight" if kind in _WEIGHT else kind}'


def _in_base(arrays):
  """Arrays by their present names: the first exports had no base model."""
  if _TABLE in arrays:
    return arrays
  return {
      name if name == _PADDING else _BASE + name: x
      for name, x in arrays.items()
  }


def _to_torch(name, x):
  if _GROUPS in name:
    return x
  if name.endswith('kernel') and '.conv' in name:
    return x.T[:, None]  # [K, I] to [I, 1, K]
  if name.endswith('kernel'):
    return x.reshape(len(x), -1).T  # [inputs, *outputs] to [outputs, inputs]
  return x if name.endswith('embedding') else x.reshape(-1)


def _from_torch(name, x, shape):
  x = x.T if name.endswith('kernel') and _GROUPS not in name else x
  if x.size != np.prod(shape):
    raise ValueError(
        f'{_torch_name(name)} must have the size of {[*shape]}, got'
        f' {[*x.shape]}'
    )
  return x.reshape(shape).astype(np.float32)


def _check_names(names, wanted):
  for problem, wrong in (
      ('lacks', wanted - names),
      ('also has', names - wanted),
  ):
    if wrong:
      raise ValueError(
          f'{_WEIGHTS} must hold the tensors of the model of config.json, but'
          f' {problem} {", ".join(sorted(wrong))}'
      )


def _config(model, tokenizer):
  config = model.config
  released = config['model']['pad_mask'] == 'reference'
  return {
      'architectures': ['JrtForCausalLM'],
      'auto_map': {
          'AutoConfig': 'configuration_jrt.JrtConfig',
          'AutoModel': 'modeling_jrt.JrtModel',
          'AutoModelForCausalLM': 'modeling_jrt.JrtForCausalLM',
      },
      'model_type': 'jrt',
      'dtype': 'float32',
      'eos_token_id': model.tokenizer.eos_id,
      'pad_token_id': model.tokenizer.eos_id,
      'model': config['model'],
      'prefix_capacity': model.prefix_capacity,
      'prefix_pad_id': model.pad_id if released else None,
      'sequence_length': config['sequence_length'],
      'training': {
          'prefix': config['prefix'],
          'objective': config['objective'],
          'tokenizer': tokenizer,
      },
  }


def _generation(model):
  size, vocab_size = model.tokenizer.size, model.config['model']['vocab_size']
  no_text = {'suppress_tokens': [*range(size, vocab_size)]}
  return {
      'do_sample': False,
      'eos_token_id': model.tokenizer.eos_id,
      'pad_token_id': model.tokenizer.eos_id,
      **(no_text if size < vocab_size else {}),
  }


def _check_reading(config):
  """The export pads every short prefix; we pad only short prompts."""
  name = config['prefix']['name']
  fills = config['model']['pad_mask'] == 'reference'
  fitted = policies.fitted_names()
  if fills and name in fitted:
    others = sorted({*policies.PREFIX_POLICIES} - {*fitted})
    raise ValueError(
        "a model with config.model.pad_mask='reference' must have"
        f' config.prefix.name in {others} to be exported, got {name!r}'
    )


def _card(model):
  config = model.config
  mixers = config['model']['mixers']
  counts = ', '.join(f'{mixers.count(m)} {m}' for m in dict.fromkeys(mixers))
  template = string.Template((_HERE / 'model_card.md').read_text())
  unfinished = workdirs.is_unfinished(config, model.step)
  return template.substitute(
      parameters=f'{sum(x.size for x in model.params.values()):,}',
      layers=f'{len(mixers)} layers ({counts})',
      width=config['model']['width'],
      step=f'{model.step:,}' + f" of {config['steps']:,}" * unfinished,
      batch_size=config['batch_size'],
      sequence_length=config['sequence_length'],
      objective=config['objective']['name'],
      prefix=config['prefix']['name'],
      prefix_capacity=model.prefix_capacity,
  )


def _write_json(path, content):
  path.write_text(json.dumps(content, indent=2) + '\n')
