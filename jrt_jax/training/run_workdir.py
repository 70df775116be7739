"""The workdir of a run: whether it may be written to, and its recorded config."""

from collections.abc import Mapping
import json
import pathlib
import socket
import tempfile
import time
from typing import Any

from jrt_jax import atomic_write
from jrt_jax import builtin_models
from jrt_jax import foreign
from jrt_jax.training import compact
from jrt_jax.training import recorded_config

# These keys, or all below them, change how a run is computed or what it is
# asked, not what it computes.
HOW = (
    'data.num_threads',
    'data.verify',
    'mesh.data',
    'mesh.fsdp',
    'mesh.tensor',
    'microbatch_per_device',
    'model.implementation',
    'model.remat',
    'probes',  # all of them
    'wandb_project',
)

# A checkpoint's place in the data is a count of batches; with another value of
# these it would stand for other examples.
PLACE = ('batch_size', 'sequence_length', 'seed')


def check_workdir(workdir: str | pathlib.Path) -> pathlib.Path:
  """Returns `workdir` as a path to a directory that exists and can be written.

  Raises:
    ValueError: it cannot be made, or not be written to, or is a compact run.
    FileNotFoundError: no model that comes along has this name.
  """
  path = builtin_models.find(workdir)
  if compact.is_one(path):
    raise ValueError(
        'workdir must be a new one or that of a run that can go on, got'
        f' {workdir}, which has weights only: use another --workdir, and'
        f' --from={workdir} for them'
    )
  try:
    path.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=path).close()
  except OSError as error:
    raise ValueError(
        f'workdir must be a directory that can be written to, got {workdir}:'
        f' {error.strerror}'
    ) from error
  return path


def check_shared(workdir: pathlib.Path, patience: float = 30) -> None:
  """Raises ValueError unless this process sees what another recorded there.

  Args:
    workdir: in which another process has called `record_config`.
    patience: seconds that a network's file system may take to show it.
  """
  deadline = time.monotonic() + patience
  while not (workdir / 'config.json').exists():
    if time.monotonic() > deadline:
      raise ValueError(
          f'--workdir must be on a file system that all processes share, got'
          f' {workdir}, where {socket.gethostname()} does not see config.json'
      )
    time.sleep(0.1)


def record_config(
    workdir: pathlib.Path, config: Mapping[str, Any], *, allow_change: bool
) -> None:
  """Writes workdir/config.json, or compares with the one that is there.

  A config that replaces another leaves it as config.1.json, config.2.json, …
  Keys that the recorded one lacks, being older, count as `configs/base.py` has
  them.

  Args:
    workdir: an existing directory.
    config: nested dicts of what JSON can hold; tuples count as lists.
    allow_change: whether a resumed run may go on with another config. What is
      only in `HOW` may always change. With another model it never can go on,
      for the weights would not fit, nor with other batches, for its place in
      the data would be another.

  Raises:
    ValueError: the config is not the recorded one; first a line that says what
      can be done, then `key: old → new` for each key that differs.
  """
  path = workdir / 'config.json'
  if path.exists():
    recorded = path.read_text()
    there = foreign.parse_json(recorded, str(path), foreign.OBJECT)
    old, new = (
        recorded_config.same_words(recorded_config.flat(x))
        for x in (there, config)
    )
    if old == new:
      return
    later = recorded_config.later_keys(path, old, new)
    _check_changes(workdir, _changes(old | later, new), allow_change)
    _first_free(workdir).write_text(recorded)
  atomic_write.text(path, json.dumps(config, indent=2) + '\n')


def forget_config(workdir: pathlib.Path) -> None:
  """Lets the next `record_config` write any config, as into a new workdir."""
  (workdir / 'config.json').unlink(missing_ok=True)


def _check_changes(workdir, changes, allow_change):
  lines = '\n'.join(f'{key}: {old} → {new}' for key, old, new in changes)
  keys = {key for key, *_ in changes if not _is_how(key)}
  if any(key.startswith('model.') for key in keys):
    raise ValueError(
        f'{workdir} holds a run of another model: use another --workdir'
        f'\n{lines}'
    )
  if keys & {*PLACE}:
    raise ValueError(
        f'{workdir} holds a run with other batches: use another --workdir, and'
        f' --config.init_from={workdir} for its weights\n{lines}'
    )
  if keys and not allow_change:
    raise ValueError(
        f'{workdir} holds a run with another config: use another --workdir, or'
        f' go on from its checkpoint with --allow_config_change\n{lines}'
    )


def _is_how(key):
  return any(key == how or key.startswith(f'{how}.') for how in HOW)


def _changes(old, new):
  """Returns a sorted list of (key, old, new) as texts, where they differ."""
  text = lambda config, key: json.dumps(config[key]) if key in config else None
  return [
      (key, text(old, key) or '(not set)', text(new, key) or '(not set)')
      for key in sorted(old | new)
      if text(old, key) != text(new, key)
  ]


def _first_free(workdir):
  count = 1
  while (path := workdir / f'config.{count}.json').exists():
    count += 1
  return path
