"""Where models are found."""

from __future__ import annotations

from collections.abc import Sequence
import os
import pathlib

import jax

from configs import base
from jrt_jax import builtin_models
from jrt_jax import foreign
from jrt_jax import generation
from jrt_jax.api.text_model import TextModel
from jrt_jax.interchange import hugging_face


def load(
    path: str | os.PathLike,
    *,
    tokenizer: str | os.PathLike | None = None,
    implementation: str | None = None,
    exact: bool = False,
    devices: Sequence[jax.Device] | None = None,
    mesh_sequence: int = 1,
) -> TextModel:
  """Returns a trained model.

  >>> import jrt_jax
  >>> jrt_jax.load('builtin:jrt_2m')
  <builtin:jrt_2m: 1,792,000 parameters, 7 layers of width 128, step 732>

  Args:
    path: a workdir of `jrt_jax.train`, whose newest intact checkpoint is loaded; a
      folder that `jrt_jax.convert to_compact` or `jrt_jax.export` has written; or
      'builtin:NAME' for a model that comes with the package, such as
      'builtin:jrt_2m'.
    tokenizer: path of its tokenizer.json; None: the path used in training.
    implementation: what computes linear attention, a value of
      `config.model.implementation`; None: what is correct on this device.
    exact: whether weights stay in float32, as they were saved. Otherwise they
      are kept in the dtype in which they are multiplied.
    devices: the devices that share the rows of a batch; None: all GPUs of this
      process, or the CPU.
    mesh_sequence: how many of these devices share the positions of each text,
      for texts that are too long for one; of CPU devices, as many are then
      used.

  Raises:
    FileNotFoundError: there is no such model, no checkpoint or no tokenizer.
    ValueError: they are damaged, or do not fit together; or the devices cannot
      be divided in this way.
  """
  name = str(path)
  folder = builtin_models.find(pathlib.Path(name).expanduser())
  load_it = _exported if _is_export(name, folder) else generation.load
  model = load_it(
      folder,
      tokenizer=tokenizer and str(tokenizer),
      implementation=implementation,
      exact=exact,
      devices=devices,
      mesh_sequence=mesh_sequence,
  )
  return TextModel(model, name)


def _is_export(name, folder):
  """Whether it is what `jrt_jax.export` writes, and no run."""
  config = folder / 'config.json'
  if not config.is_file():
    raise FileNotFoundError(
        'path must be a workdir of jrt_jax.train, a folder of jrt_jax.convert'
        ' to_compact or of jrt_jax.export, or builtin:NAME, got'
        f' {name!r}, without config.json'
    )
  kind = foreign.read_json(config, foreign.OBJECT).get('model_type')
  if kind not in (None, 'jrt'):
    raise ValueError(
        f'path must be a model of jrt_jax, got {name!r}, of model_type'
        f' {kind!r}: python -m jrt_jax.convert from_official makes a workdir of'
        ' released checkpoints'
    )
  return kind is not None


def _exported(folder, **how):
  config, params = hugging_face.read(folder, base.get_config().to_dict())
  return generation.of_weights(config, params, origin=folder, **how)
