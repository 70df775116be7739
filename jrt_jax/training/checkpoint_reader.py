"""Reads what `checkpoint.Checkpoints` has saved, without changing it."""

from collections.abc import Mapping
import dataclasses
import pathlib
from typing import Any

from absl import logging
import jax
from orbax.checkpoint import v1 as ocp

from jrt_jax.training import checkpoint_integrity


def exists(workdir: str | pathlib.Path) -> bool:
  """Whether a checkpoint was saved in `workdir`, intact or not."""
  return bool(checkpoint_integrity.saved(directory(workdir)))


def load_params(
    workdir: str | pathlib.Path,
    abstract_params: Mapping[str, Any] | None = None,
    *,
    partly: bool = False,
) -> tuple[dict[str, jax.Array], int]:
  """Returns (params, step) of the newest checkpoint whose params are intact.

  Reads only the params, and changes no file.

  Args:
    abstract_params: the shapes, dtypes and shardings to load; None: as saved,
      on the first device.
    partly: whether the checkpoint may lack some of these. They are then missing
      in the result.

  Raises:
    FileNotFoundError: there is no checkpoint.
    ValueError: every checkpoint is damaged, or it is of another model.
  """
  folder = directory(workdir)
  path, damaged = checkpoint_integrity.newest(folder, part='params/')
  if path is None:
    raise FileNotFoundError(f'there is no checkpoint in {folder}')
  for bad, problem in damaged.items():
    logging.warning('%s is damaged (%s): using %s', bad, problem, path.name)
  if abstract_params is None:
    abstract_params = saved_params(path)
  abstract_params = fitting(
      path, saved_params(path), abstract_params, partly=partly
  )
  with context():
    loaded = ocp.load_checkpointables(path, {'params': abstract_params})
  return loaded['params'], int(path.name)


def load_state(path: pathlib.Path, abstract_state: Any) -> tuple[Any, Any]:
  """Returns (state, meta) of the checkpoint at `path`.

  Args:
    path: of an intact checkpoint.
    abstract_state: a dataclass as in `Checkpoints.save`; its leaves are the
      shapes, dtypes and shardings to load.

  Raises:
    ValueError: it is of another model or has weights only.
  """
  fitting(path, saved_params(path), abstract_state.params)
  if not (path / 'train').exists():
    raise ValueError(
        f'{path} has weights only: to start from them, pass'
        f' --config.init_from={path.parents[1]} and another --workdir'
    )
  with context():
    loaded = ocp.load_checkpointables(
        path, {**parts(abstract_state), 'meta': None}
    )
  state = dataclasses.replace(
      abstract_state, params=loaded['params'], **loaded['train']
  )
  return state, loaded['meta']


def parts(state: Any) -> dict[str, Any]:
  """Returns what a checkpoint has of a state, by the names of its folders."""
  train = {'step': state.step, 'opt_state': state.opt_state}
  return {'params': state.params, 'train': train}


def load_meta(workdir: str | pathlib.Path, step: int) -> dict[str, Any]:
  """Returns what was saved as `meta` beside the weights of `step`."""
  with context():
    loaded = ocp.load_checkpointables(
        directory(workdir) / str(step), {'meta': None}
    )
  return loaded['meta']


def fitting(
    path: pathlib.Path,
    saved: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    partly: bool = False,
) -> dict[str, Any]:
  """Returns the wanted parameters that are saved: all, unless `partly`.

  Raises:
    ValueError: others are saved or have other shapes, or a parameter is not
      saved although all are wanted.
  """
  shapes, new_shapes = (
      {name: tuple(array.shape) for name, array in params.items()}
      for params in (saved, wanted)
  )
  known = {x: new_shapes[x] for x in wanted if x in saved or not partly}
  different = sorted(x for x in shapes | known if shapes.get(x) != known.get(x))
  if different:
    name = different[0]
    raise ValueError(
        f'checkpoint {path} is of another model: {len(different)} parameters'
        f' differ, the first is {name}: saved {shapes.get(name, "not at all")},'
        f' wanted {known.get(name, "not at all")}'
    )
  return {name: wanted[name] for name in known}


def saved_params(path: pathlib.Path) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns shapes and dtypes of the weights of a checkpoint."""
  first = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  with context():
    saved = ocp.checkpointables_metadata(path).metadata['params']
  return {
      name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=first)
      for name, array in saved.items()
  }


def directory(workdir: str | pathlib.Path) -> pathlib.Path:
  """Returns the folder of the checkpoints of a run."""
  return pathlib.Path(workdir).absolute() / 'checkpoints'


def context() -> ocp.Context:
  """Returns options for Orbax: `meta` is JSON, not a tree of arrays."""
  registry = ocp.handlers.local_registry()
  registry.add(ocp.handlers.JsonHandler, checkpointable_name='meta')
  options = ocp.Context()
  options.checkpointables.registry = registry
  return options
