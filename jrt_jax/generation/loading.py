"""Loads models from workdirs and from given weights."""

from collections.abc import Mapping, Sequence
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from jrt_jax.cost import layout
from jrt_jax.cost.kernels import KERNELS_OR_CHUNKED
from jrt_jax.data import tokenizers
from jrt_jax.data.synthetic import tasks
from jrt_jax.generation.model import as_served
from jrt_jax.generation.model import Model
from jrt_jax.generation.model import tokens_at_once
from jrt_jax.runtime import sharding
from jrt_jax.training import kernels
from jrt_jax.training import workdirs


def load(
    workdir: str | pathlib.Path,
    *,
    tokenizer: str | None = None,
    implementation: str | None = None,
    exact: bool = False,
    devices: Sequence[jax.Device] | None = None,
    mesh_sequence: int = 1,
) -> Model:
  """Returns the model of the newest intact checkpoint in `workdir`.

  Args:
    workdir: of `jrt_jax.train`, or builtin:NAME for a model of the package.
    tokenizer: the path of its tokenizer, if it has moved since training.
    implementation: the implementation of linear attention. None: the one that
      is correct on this machine's GPU; it is chosen before the GPU is opened,
      and printed to stderr.
    exact: whether the weights stay in float32, as they were saved. Otherwise
      only the weights for inference are kept (`model.as_served`).
    devices: the devices that share rows, and heads as in training; None: all
      GPUs of this process, or the CPU.
    mesh_sequence: how many of these devices share the positions of a prompt;
      of CPU devices, as many are then used.

  Raises:
    FileNotFoundError: there is no run, no checkpoint or no tokenizer.
    ValueError: one of them is damaged, or they do not fit together; or the
      devices cannot be divided in this way.
  """
  config = workdirs.read_config(workdir)
  if (source := config['data']['source']) in tasks.TASKS:
    raise ValueError(
        f'the workdir must be that of a run on text, got {workdir}, which was'
        f' trained on {source!r}'
    )
  found = _tokenizer(config, tokenizer, workdir)
  implementation = implementation or _implementation(config['model'])
  mesh = _mesh(config, devices, mesh_sequence)
  params, step = workdirs.read_params(workdir, config, mesh)
  data = workdirs.trained_on(workdir, step)
  if ' tokenizer ' in data and not data.endswith(f' {found.fingerprint}'):
    raise ValueError(
        f'--tokenizer must be that of the training data ({data}), got'
        f' {found.fingerprint}'
    )
  if not exact:
    params = as_served(config['model'], params)
  return Model(
      config,
      params,
      found,
      step,
      implementation=implementation,
      mesh=mesh,
  )


def of_weights(
    config: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    origin: str | os.PathLike,
    tokenizer: str | None = None,
    implementation: str | None = None,
    exact: bool = False,
    devices: Sequence[jax.Device] | None = None,
    mesh_sequence: int = 1,
) -> Model:
  """Returns the model of given weights, without a workdir.

  Args:
    config: the config of the run that trained it, nested dicts.
    params: float32 arrays, by name.
    origin: where the weights come from, for messages.
    tokenizer, implementation, exact, devices, mesh_sequence: see `load`.

  Raises:
    FileNotFoundError, ValueError: there is no tokenizer, or it is that of
      another model.
  """
  found = _tokenizer(config, tokenizer, origin)
  implementation = implementation or _implementation(config['model'])
  mesh = _mesh(config, devices, mesh_sequence)
  if exact:
    params = {name: jnp.asarray(x) for name, x in params.items()}
  else:
    params = as_served(config['model'], params)
  return Model(config, params, found, implementation=implementation, mesh=mesh)


def _mesh(config, devices, mesh_sequence):
  mesh = sharding.serving_mesh(config['mesh'], devices, sequence=mesh_sequence)
  if mesh_sequence > 1:
    layout.check_prompts(config['model'], tokens_at_once(config))
  return mesh


def _tokenizer(config, given, origin):
  place = given or config['data']['tokenizer']
  if not place:  # weights that came without a tokenizer
    raise ValueError(
        f'--tokenizer=FILE must be given: {origin} does not know its tokenizer'
    )
  found = tokenizers.load(place)
  if found.size > config['model']['vocab_size']:
    raise ValueError(
        f'--tokenizer must be that of the model, which has'
        f" {config['model']['vocab_size']} ids, got one with {found.size}"
    )
  return found


def _implementation(model):
  """The implementation for this machine, whatever the run was trained with."""
  if model['implementation'] in ('mosaic_sm90', KERNELS_OR_CHUNKED):
    model = {**model, 'implementation': 'auto'}
  return kernels.decided(model)['implementation']
