"""A run without its history, small enough to be given away: three files.

config.json        of the run
model.safetensors  its weights in bfloat16, by their names; its step and its data
tokenizer.json     where text is not read as bytes

Commands that read a run take such a folder for a workdir; training does not.
Models that come with the package lie in `jrt_jax/builtin`, and are written
builtin:NAME.
"""

from collections.abc import Mapping
import pathlib
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import safetensors

from jrt_jax import foreign
from jrt_jax import models
from jrt_jax import provenance
from jrt_jax import weights
from jrt_jax.training import recorded_config

BUILTIN = pathlib.Path(__file__).parents[1] / 'builtin'

_PREFIX = 'builtin:'
_PLACES = ('data.path', 'data.validation_path', 'prefix.file', 'probes.path')
_PLACES += ('init_from', 'wandb_project')
_WEIGHTS, _TOKENIZER = 'model.safetensors', 'tokenizer.json'


def builtin() -> list[str]:
  """Returns the names of the models that come with the package."""
  return sorted(path.name for path in BUILTIN.iterdir() if is_one(path))


def find(workdir: str | pathlib.Path) -> pathlib.Path:
  """Returns the folder that `workdir` is, or that builtin:NAME stands for.

  Raises:
    FileNotFoundError: no model has this name.
  """
  kind, found, name = str(workdir).partition(_PREFIX)
  if kind or not found:
    return pathlib.Path(workdir)
  if name not in builtin():
    raise FileNotFoundError(
        f'builtin:NAME must be one of {", ".join(builtin())}, got {name!r}'
    )
  return BUILTIN / name


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


def read(
    folder: pathlib.Path,
) -> tuple[dict[str, Any], dict[str, jax.Array], int]:
  """Returns the config, the weights in float32 by name, and their step.

  Raises:
    FileNotFoundError: a file is missing.
    ValueError: a file is damaged, or they do not belong together.
  """
  config = recorded_config.read(folder / 'config.json')
  if (tokenizer := config['data']['tokenizer']) != 'bytes':
    config['data']['tokenizer'] = str(folder / tokenizer)
  path = folder / _WEIGHTS
  arrays = weights.read_safetensors(path)
  shapes = {name: x.shape for name, x in arrays.items()}
  _, wanted = models.abstract(config['model'])
  if shapes != {name: x.shape for name, x in wanted.items()}:
    raise ValueError(f'{path} must be of the model of config.json, got another')
  params = {name: jnp.asarray(x, jnp.float32) for name, x in arrays.items()}
  return config, params, int(read_about(folder)['step'])


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
