"""Checkpoints: saved by Orbax in the background, verified before they are read.

workdir/checkpoints/<step>/
  params/         the flat dict of weights, which can be read alone
  train/          the step and the optimizer's state; weights that were not
                  trained here have none
  meta/           JSON of the caller's, such as where the data iterator is
  digests.json    of every file above; Orbax alone misses flipped bits, and its
                  errors do not tell a damaged file from a model that differs

Orbax writes to <step>.orbax-checkpoint-tmp and renames: a directory that is
named by a number was complete once.
"""

from collections.abc import Mapping
import dataclasses
import hashlib
import json
import pathlib
from typing import Any

from absl import logging
import jax
from orbax.checkpoint import v1 as ocp

from jrt_jax.training import distributed

DIGESTS = 'digests.json'


class Checkpoints:
  """The checkpoints of one run; a context manager that waits for saves.

  Args:
    workdir: of the run; checkpoints are in its folder `checkpoints`.
    keep: how many of the newest stay.
    keep_every: steps divisible by it stay too; 0 for none.

  Raises:
    ValueError: none would be kept.
  """

  def __init__(
      self, workdir: str | pathlib.Path, *, keep: int, keep_every: int
  ):
    if keep < 1:
      raise ValueError(
          f'config.keep_checkpoints must be positive, got {keep}: a run resumes'
          ' from the newest checkpoint'
      )
    self.directory = _directory(workdir)
    policies = ocp.training.preservation_policies
    kept = [policies.LatestN(keep)]
    if keep_every:
      kept.append(policies.EveryNSteps(keep_every))
    context = _context()
    context.async_options.post_finalization_callback = self._before_commit
    self._checkpointer = ocp.training.Checkpointer(
        self.directory,
        context=context,
        preservation_policy=policies.AnyPreservationPolicy(kept),
        cleanup_tmp_directories=True,
    )

  def save(self, step: int, state: Any, meta: Mapping[str, Any]) -> None:
    """Starts to save; the state may be donated as soon as this returns.

    Waits for an earlier save first, and raises what went wrong in it. A step
    that is already saved is left as it is.

    Args:
      step: the name of the checkpoint.
      state: a dataclass with the fields step, params and opt_state.
      meta: anything that JSON can hold.
    """
    if step not in (saved.step for saved in self._checkpointer.checkpoints):
      self._checkpointer.save_checkpointables_async(
          step, {**_parts(state), 'meta': meta}, force=True
      )

  def save_params(
      self, params: Mapping[str, jax.Array], meta: Mapping[str, Any]
  ) -> None:
    """Saves weights alone, as step 0: runs can start from them, not resume."""
    self._checkpointer.save_checkpointables(
        0, {'params': params, 'meta': meta}, force=True
    )

  def restore_latest(self, abstract_state: Any) -> tuple[Any, Any] | None:
    """Returns (state, meta) of the newest intact checkpoint, None without any.

    Damaged checkpoints that are newer are renamed to <step>.damaged, with one
    warning each; an intact one that does not fit is an error.

    Args:
      abstract_state: a dataclass as in `save`; its leaves give the shapes,
        dtypes and shardings that are wanted.

    Raises:
      ValueError: every checkpoint is damaged, or the newest intact one is of
        another model or holds weights only.
    """
    path, damaged = _newest_intact(self.directory)
    if path is None:
      return None
    _check_fit(path, abstract_state.params)
    if not (path / 'train').exists():
      raise ValueError(
          f'{path} holds weights only: use another --workdir, and'
          f' --config.init_from={self.directory.parent} for them'
      )
    distributed.from_first(lambda: _move_aside(damaged))
    self._checkpointer.reload()
    loaded = self._checkpointer.load_checkpointables(
        int(path.name), {**_parts(abstract_state), 'meta': None}
    )
    state = dataclasses.replace(
        abstract_state, params=loaded['params'], **loaded['train']
    )
    return state, loaded['meta']

  def wait(self) -> None:
    """Blocks until the last save is committed; raises if it failed."""
    self._checkpointer.wait()

  def close(self) -> None:
    """Waits, then releases threads."""
    self._checkpointer.close()

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def _before_commit(self) -> None:
    """Orbax calls this when all is written, before the rename that commits."""
    for path in self.directory.glob('*.orbax-checkpoint-tmp'):
      (path / DIGESTS).write_text(json.dumps(_digests(path), indent=1))


def exists(workdir: str | pathlib.Path) -> bool:
  """Whether a checkpoint was saved in `workdir`, intact or not."""
  return bool(_saved(_directory(workdir)))


def load_params(
    workdir: str | pathlib.Path,
    abstract_params: Mapping[str, Any] | None = None,
) -> tuple[dict[str, jax.Array], int]:
  """Returns (params, step) of the newest checkpoint whose params are intact.

  Reads nothing but the params, and changes nothing.

  Args:
    workdir: of the run that saved it.
    abstract_params: shapes, dtypes and shardings that are wanted; None takes
      what was saved, on the first device.

  Raises:
    FileNotFoundError: there is no checkpoint.
    ValueError: every checkpoint is damaged, or it is of another model.
  """
  directory = _directory(workdir)
  path, damaged = _newest_intact(directory, part='params/')
  if path is None:
    raise FileNotFoundError(f'there is no checkpoint in {directory}')
  for bad, problem in damaged.items():
    logging.warning('%s is damaged (%s): using %s', bad, problem, path.name)
  if abstract_params is None:
    abstract_params = _saved_params(path)
  _check_fit(path, abstract_params)
  with _context():
    loaded = ocp.load_checkpointables(path, {'params': abstract_params})
  return loaded['params'], int(path.name)


def load_meta(workdir: str | pathlib.Path, step: int) -> dict[str, Any]:
  """Returns what was saved as `meta` beside the weights of `step`."""
  with _context():
    loaded = ocp.load_checkpointables(
        _directory(workdir) / str(step), {'meta': None}
    )
  return loaded['meta']


def _directory(workdir):
  return pathlib.Path(workdir).absolute() / 'checkpoints'


def _context():
  """Orbax options: `meta` is JSON, not a tree of arrays."""
  registry = ocp.handlers.local_registry()
  registry.add(ocp.handlers.JsonHandler, checkpointable_name='meta')
  context = ocp.Context()
  context.checkpointables.registry = registry
  return context


def _parts(state):
  train = {'step': state.step, 'opt_state': state.opt_state}
  return {'params': state.params, 'train': train}


def _newest_intact(directory, part=''):
  """Returns a path, or None, and {path: problem} of the newer damaged ones."""
  name, damaged = distributed.from_first(lambda: _find_intact(directory, part))
  path = directory / name if name else None
  return path, {directory / bad: why for bad, why in damaged.items()}


def _find_intact(directory, part):
  """What `_newest_intact` returns, of names."""
  damaged = {}
  for path in _saved(directory):
    problem = _problem(path, part)
    if not problem:
      return path.name, damaged
    damaged[path.name] = problem
  if damaged:
    reasons = '; '.join(f'{name}: {why}' for name, why in damaged.items())
    raise ValueError(
        f'every checkpoint in {directory} is damaged ({reasons}); move the'
        ' folder away to start anew'
    )
  return None, damaged


def _saved(directory):
  """Returns the paths of all checkpoints, the newest first."""
  paths = [path for path in directory.glob('*') if path.name.isdigit()]
  return sorted(paths, key=lambda path: int(path.name), reverse=True)


def _problem(path, part):
  """Returns what is wrong with the files under `part`, or None."""
  try:
    digests = json.loads((path / DIGESTS).read_text())
  except (FileNotFoundError, ValueError):
    return f'{DIGESTS} is missing or cut off'
  for name, digest in digests.items():
    if not name.startswith(part):
      continue
    if not (path / name).is_file():
      return f'{name} is missing'
    if _digest(path / name) != digest:
      return f'{name} is not as it was written'


def _digests(path):
  files = [file for file in path.glob('*/**/*') if file.is_file()]
  return {str(file.relative_to(path)): _digest(file) for file in sorted(files)}


def _digest(path):
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _move_aside(damaged):
  for path, problem in damaged.items():
    aside = path.with_suffix('.damaged')
    count = 1
    while aside.exists():
      count += 1
      aside = path.with_suffix(f'.damaged-{count}')
    path.rename(aside)
    logging.warning(
        '%s is damaged (%s): moved to %s', path, problem, aside.name
    )


def _saved_params(path):
  first = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  with _context():
    saved = ocp.checkpointables_metadata(path).metadata['params']
  return {
      name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=first)
      for name, array in saved.items()
  }


def _check_fit(path, abstract_params):
  """Raises ValueError unless names and shapes are the saved ones."""
  saved, wanted = (
      {name: tuple(array.shape) for name, array in params.items()}
      for params in (_saved_params(path), abstract_params)
  )
  different = sorted(
      name for name in saved | wanted if saved.get(name) != wanted.get(name)
  )
  if different:
    name = different[0]
    raise ValueError(
        f'checkpoint {path} is of another model: {len(different)} parameters'
        f' differ, first {name}: saved {saved.get(name, "without it")}, wanted'
        f' {wanted.get(name, "without it")}'
    )
