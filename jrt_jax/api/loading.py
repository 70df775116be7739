"""Finds and loads models."""

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
) -> TextModel:
  """Returns a trained model.

  >>> import jrt_jax
  >>> jrt_jax.load('builtin:jrt_2m')
  <builtin:jrt_2m: 1,792,000 parameters, 7 layers of width 128, step 732>

  Args:
    path: a workdir of `jrt_jax.train`, of which the newest intact checkpoint is
      read; a folder of `jrt_jax.convert to_compact`; one of `jrt_jax.export`;
      or 'builtin:NAME' for a model of the package, as builtin:jrt_2m.
    tokenizer: where its tokenizer.json is now, if not where it was in training.
    implementation: what computes linear attention, a value of
      `config.model.implementation`. None: what is right on the GPU that is
      here.
    exact: whether weights stay in float32, as they were saved. If not, they
      are kept in the dtype in which they are multiplied anyhow.
    devices: that share the rows of a batch. None: all GPUs of this process, or
      the CPU.

  Raises:
    FileNotFoundError: there is no such model, no checkpoint or no tokenizer.
    ValueError: one of them is damaged, or they do not fit together.
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
  )
  return TextModel(model, name)


def _is_export(name, folder):
  """Whether the folder is an export of `jrt_jax.export` and not a run."""
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
