"""A run without its history, small enough to be given away: three files.

config.json        of the run
model.safetensors  its weights in bfloat16, by their names; its step and its data
tokenizer.json     where text is not read as bytes

Commands that read a run take such a folder for a workdir, and training starts
from its weights. It cannot go on in one: there is no optimizer state. Models that
come with the package are such folders.
"""

from collections.abc import Mapping
import pathlib
import shutil
from typing import Any

import jax
import ml_dtypes
import numpy as np
import safetensors

from jrt_jax import foreign
from jrt_jax import weights
from jrt_jax.reporting import provenance
from jrt_jax.training import checkpoint
from jrt_jax.training import recorded_config

_PLACES = ('data.path', 'data.validation_path', 'prefix.file', 'probes.path')
_PLACES += ('init_from', 'wandb_project')
_WEIGHTS, _TOKENIZER = 'model.safetensors', 'tokenizer.json'


def is_one(folder: pathlib.Path) -> bool:
  """Whether `folder` is a compact run, and no workdir of training."""
  return (folder / _WEIGHTS).is_file()


def write(
    folder: pathlib.Path,
    config: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    step: int,
    data: str,
) -> None:
  """Writes a run to an empty folder.

  Args:
    config: of the run; its tokenizer is a file, or 'bytes'.
    params: float arrays by name.
    step: at which they were saved.
    data: what they were trained on, as its checkpoint says.

  Raises:
    OSError: the tokenizer is not there, or the folder cannot be written.
  """
  tokenizer = config['data']['tokenizer']
  if tokenizer != 'bytes':
    shutil.copyfile(tokenizer, folder / _TOKENIZER)
    tokenizer = _TOKENIZER
  arrays = {
      name: np.asarray(x, ml_dtypes.bfloat16) for name, x in params.items()
  }
  about = {'step': str(step), 'data': data}
  weights.write_safetensors(folder / _WEIGHTS, arrays, about)
  own = recorded_config.flat(config) | {'data.tokenizer': tokenizer}
  # Files lie where it was trained, not where it is read.
  own |= {key: '' for key in _PLACES if key in own}
  provenance.write_json(folder / 'config.json', recorded_config.nested(own))


def read_config(folder: pathlib.Path) -> dict[str, Any]:
  """Returns the config, with the tokenizer where it lies.

  Raises:
    FileNotFoundError, ValueError: see `recorded_config.read`.
  """
  config = recorded_config.read(folder / 'config.json')
  if (tokenizer := config['data']['tokenizer']) != 'bytes':
    config['data']['tokenizer'] = str(folder / tokenizer)
  return config


def load_params(
    folder: pathlib.Path, abstract_params: Mapping[str, Any]
) -> tuple[dict[str, jax.Array], int]:
  """Returns (params, step), as `checkpoint.load_params` does.

  Raises:
    FileNotFoundError: there are no weights.
    ValueError: they are damaged, or of another model.
  """
  path = folder / _WEIGHTS
  arrays = weights.read_safetensors(path)
  checkpoint.check_fit(path, arrays, abstract_params)
  params = {
      name: _placed(arrays[name], wanted)
      for name, wanted in abstract_params.items()
  }
  return params, int(read_about(folder)['step'])


def read_about(folder: pathlib.Path) -> dict[str, str]:
  """Returns the `step` and the `data` of the weights.

  Raises:
    ValueError: the file is damaged.
  """
  path = folder / _WEIGHTS
  with (
      foreign.intact(path, 'safetensors file'),
      safetensors.safe_open(path, 'np') as file,
  ):
    return {'step': '0', 'data': '', **(file.metadata() or {})}


def _placed(x, wanted):
  """Of a host's array, what its devices hold of `wanted`."""
  x = np.asarray(x, wanted.dtype)
  return jax.make_array_from_callback(x.shape, wanted.sharding, x.__getitem__)
