"""Compact runs: a run as three files, small enough to publish.

config.json        the config of the run
model.safetensors  its weights in bfloat16, its step and a description of its
                   data
tokenizer.json     its tokenizer, unless text is read as bytes

Commands that read a run accept such a folder as a workdir, and training can
start from its weights. It cannot continue the run, since the optimizer state is
missing. The builtin models are such folders.
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
from jrt_jax.training import checkpoint_reader
from jrt_jax.training import recorded_config

_PLACES = ('data.path', 'data.validation_path', 'prefix.file', 'probes.path')
_PLACES += ('init_from', 'wandb_project')
_WEIGHTS, _TOKENIZER = 'model.safetensors', 'tokenizer.json'


def is_one(folder: pathlib.Path) -> bool:
  """Whether `folder` is a compact run rather than a workdir of training."""
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
    config: the config of the run; its tokenizer is a file, or 'bytes'.
    params: float arrays by name.
    step: the step at which the weights were saved.
    data: the training data, as the checkpoint describes it.

  Raises:
    OSError: the tokenizer does not exist, or the folder cannot be written.
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
  # These paths exist only on the machine of the training.
  own |= {key: '' for key in _PLACES if key in own}
  own |= {key: [] for key in ('data.mixture',) if key in own}
  provenance.write_json(folder / 'config.json', recorded_config.nested(own))


def read_config(folder: pathlib.Path) -> dict[str, Any]:
  """Returns the config, with the path of the tokenizer in `folder`.

  Raises:
    FileNotFoundError, ValueError: see `recorded_config.read`.
  """
  config = recorded_config.read(folder / 'config.json')
  if (tokenizer := config['data']['tokenizer']) != 'bytes':
    config['data']['tokenizer'] = str(folder / tokenizer)
  return config


def load_params(
    folder: pathlib.Path,
    abstract_params: Mapping[str, Any],
    *,
    partly: bool = False,
) -> tuple[dict[str, jax.Array], int]:
  """Returns (params, step), as `checkpoint_reader.load_params` does.

  Raises:
    FileNotFoundError: there are no weights.
    ValueError: the weights are damaged, or of another model.
  """
  path = folder / _WEIGHTS
  arrays = weights.read_safetensors(path)
  fitting = checkpoint_reader.fitting(
      path, arrays, abstract_params, partly=partly
  )
  params = {
      name: _placed(arrays[name], wanted) for name, wanted in fitting.items()
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
  """Places an array of the host on devices, in the sharding of `wanted`."""
  x = np.asarray(x, wanted.dtype)
  return jax.make_array_from_callback(x.shape, wanted.sharding, x.__getitem__)
