"""Reads configs and weights of workdirs and compact runs; writes workdirs."""

from collections.abc import Mapping
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrt_jax import builtin_models
from jrt_jax import cost
from jrt_jax import models
from jrt_jax.runtime import folder_lock
from jrt_jax.runtime import sharding
from jrt_jax.training import checkpoint
from jrt_jax.training import checkpoint_reader
from jrt_jax.training import compact
from jrt_jax.training import recorded_config
from jrt_jax.training import run_workdir


def write(
    workdir: str | pathlib.Path,
    config: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    origin: str,
) -> None:
  """Makes a workdir with a checkpoint that has weights only.

  Runs in other workdirs can start from it with `config.init_from`.

  Args:
    workdir: a directory without a run.
    config: keys of `configs/base.py`; missing keys have their defaults.
    params: float32, by name.
    origin: where the weights are from, in words.

  Raises:
    ValueError: the workdir has a run already, or cannot be written to.
  """
  path = run_workdir.check_workdir(workdir)
  if checkpoint_reader.exists(path):
    raise ValueError(f'the workdir must be new, got {path}, which has a run')
  arrays = {name: jnp.asarray(x) for name, x in params.items()}
  with folder_lock.held(path, '--workdir'):
    run_workdir.forget_config(path)  # of a run that has saved nothing
    run_workdir.record_config(
        path, recorded_config.complete(config), allow_change=False
    )
    with checkpoint.Checkpoints(path, keep=1, keep_every=0) as checkpoints:
      checkpoints.save_params(arrays, {'origin': origin})


class Weights(NamedTuple):
  """The weights of a run at one step, with its config."""

  config: dict[str, Any]  # with the keys of `configs/base.py`
  params: dict[str, jax.Array]  # float32, by name, on the first device
  step: int


def read(workdir: str | pathlib.Path) -> Weights:
  """Returns the weights of the newest intact checkpoint of a run.

  Args:
    workdir: the folder of a run, a compact run, or builtin:NAME.

  Raises:
    FileNotFoundError: there is no config.json, no checkpoint, or no builtin
      model of this name.
    ValueError: the files are damaged, of a later version, or do not fit
      together.
  """
  config = read_config(workdir)
  return Weights(config, *read_params(workdir, config))


def read_config(workdir: str | pathlib.Path) -> dict[str, Any]:
  """Returns the config of a run, without opening a device.

  Raises:
    FileNotFoundError, ValueError: see `read`.
  """
  folder = builtin_models.find(workdir)
  try:
    return _config(folder)
  except (FileNotFoundError, NotADirectoryError) as error:
    raise FileNotFoundError(
        f'the workdir must be that of a run, got {str(workdir)!r}, which has no'
        ' config.json'
    ) from error


def read_params(
    workdir: str | pathlib.Path,
    config: Mapping[str, Any],
    mesh: jax.sharding.Mesh | None = None,
) -> tuple[dict[str, jax.Array], int]:
  """Returns the weights of a run, and their step.

  Args:
    workdir: see `read`.
    config: what `read_config` returned.
    mesh: the mesh that the weights are divided over; None: all are on the first
      device.

  Raises:
    FileNotFoundError, ValueError: see `read`.
  """
  _, shapes = models.abstract(config['model'])
  if mesh is None:
    first = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    places = dict.fromkeys(shapes, first)
  else:
    places = sharding.params_sharding(
        mesh, shapes, cost.weights(config['model'])
    )
  shapes = {
      name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=places[name])
      for name, x in shapes.items()
  }
  return load_params(workdir, shapes)


def load_params(
    workdir: str | pathlib.Path,
    abstract_params: Mapping[str, Any],
    *,
    partly: bool = False,
) -> tuple[dict[str, jax.Array], int]:
  """Returns the weights of a run and their step, without reading its config.

  Args:
    workdir: see `read`.
    abstract_params: the shapes, dtypes and shardings of the weights.
    partly: whether the run may lack some of these. They are then missing in
      the result.

  Raises:
    FileNotFoundError: there is no checkpoint, or no builtin model of this name.
    ValueError: the checkpoint is damaged, or of another model.
  """
  folder = builtin_models.find(workdir)
  kind = compact if compact.is_one(folder) else checkpoint_reader
  return kind.load_params(folder, abstract_params, partly=partly)


def trained_on(workdir: str | pathlib.Path, step: int) -> str:
  """Returns a description of the training data of `step`; '' if unknown.

  It ends with the fingerprint of the tokenizer.
  """
  folder = builtin_models.find(workdir)
  if compact.is_one(folder):
    return compact.read_about(folder)['data']
  return checkpoint_reader.load_meta(folder, step).get('data', '')


def tokenizer(workdir: str | pathlib.Path) -> str | None:
  """Returns `config.data.tokenizer` of a run; None if there is no run.

  Raises:
    FileNotFoundError, ValueError: see `read`.
  """
  folder = builtin_models.find(workdir)
  if not (compact.is_one(folder) or checkpoint_reader.exists(folder)):
    return None
  return _config(folder)['data']['tokenizer']


def is_unfinished(config: Mapping[str, Any], step: int) -> bool:
  """Whether `step` is before the last step of the run.

  Converted weights have step 0 and do not count as unfinished.
  """
  return 0 < step < config['steps']


def _config(folder):
  if compact.is_one(folder):
    return compact.read_config(folder)
  return recorded_config.read(folder / 'config.json')
