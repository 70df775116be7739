"""The weights with which a run begins."""

from collections.abc import Mapping
from typing import Any

import jax

from jrt_jax import models
from jrt_jax.training import train_state
from jrt_jax.training import workdirs


def of(
    config: Mapping[str, Any], wanted: train_state.Params
) -> tuple[train_state.Params, str]:
  """Returns the weights, and where they are from, in words.

  These are the weights of `config.init_from`, or new ones. With
  `config.init_new`, weights that the other run lacks are new.

  Args:
    config: the config of the run.
    wanted: the shapes, dtypes and shardings of the weights.

  Raises:
    ValueError: the other run is of another model, or no weight is intact.
    FileNotFoundError: the other run has no checkpoint.
  """
  loaded, origin = {}, []
  if source := config['init_from']:
    loaded, step = _load(source, wanted, partly=config['init_new'])
    origin.append(f'weights of step {step} in {source}')
  if lacking := sorted({*wanted} - {*loaded}):
    new = f'new weights of seed {config["seed"]}'
    if loaded:
      new += f' for {len(lacking)} parameters such as {lacking[0]}'
    origin.append(new)
    loaded |= _new(config, {name: wanted[name] for name in lacking})
  return {name: loaded[name] for name in wanted}, ' and '.join(origin)


def _load(source, wanted, *, partly):
  try:
    return workdirs.load_params(source, wanted, partly=partly)
  except FileNotFoundError as error:
    raise FileNotFoundError(f'config.init_from: {error}') from error
  except ValueError as error:
    raise ValueError(
        f'config.init_from: {error}; pass --from={source} in place of --config'
        ' to use the config of its model as well'
    ) from error


def _new(config, wanted):
  """Draws weights; only those that are wanted are kept."""

  def draw():
    params = models.split(models.build(config['model'], config['seed']))[1]
    return {name: params[name] for name in wanted}

  shardings = {name: x.sharding for name, x in wanted.items()}
  return jax.jit(draw, out_shardings=shardings)()
