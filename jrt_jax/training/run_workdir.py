"""Checks that a run may use its workdir, and records its config there."""

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

# These keys, and all below them, do not change the weights that a run computes
# (apart from rounding). They may change when a run continues.
HOW = (
    'data.num_threads',
    'data.verify',
    'mesh.data',
    'mesh.fsdp',
    'mesh.sequence',
    'mesh.tensor',
    'microbatch_per_device',
    'model.implementation',
    'model.remat',
    'probes',
    'stall_seconds',
    'wandb_project',
)

# A checkpoint records its place in the data as a number of batches. If one of
# these keys changed, the same number would mean other examples.
PLACE = ('batch_size', 'sequence_length', 'seed')


def check_workdir(workdir: str | pathlib.Path) -> pathlib.Path:
  """Returns `workdir` as a path to a directory that exists and can be written.

  Raises:
    ValueError: the directory cannot be made or written to, or is a compact run.
    FileNotFoundError: there is no builtin model of this name.
  """
  path = builtin_models.find(workdir)
  if compact.is_one(path):
    raise ValueError(
        'workdir must be new or that of a run that can continue, got'
        f' {workdir}, which has weights only: to start from these, pass'
        f' --from={workdir} and another --workdir'
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


def check_shared(workdir: pathlib.Path) -> None:
  """Raises ValueError unless this process sees the config of process 0.

  Args:
    workdir: the directory in which process 0 has called `record_config`.
  """
  deadline = time.monotonic() + 30  # a network file system may be slow
  while not (workdir / 'config.json').exists():
    if time.monotonic() > deadline:
      raise ValueError(
          '--workdir must be on a file system that all processes share, got'
          f' {workdir}, where {socket.gethostname()} does not see config.json'
      )
    time.sleep(0.1)


def record_config(
    workdir: pathlib.Path, config: Mapping[str, Any], *, allow_change: bool
) -> None:
  """Writes workdir/config.json, or compares `config` with it.

  A config that is replaced is kept as config.1.json, config.2.json, … Keys that
  an older recorded config lacks have the defaults of `configs/base.py`.

  Args:
    workdir: an existing directory.
    config: nested dicts of JSON values; tuples count as lists.
    allow_change: whether a run may continue with another config. The keys of
      `HOW` may always change. The model, the optimizer and the keys of `PLACE`
      never may: the state would not fit, or the place in the data would be
      wrong.

  Raises:
    ValueError: the config differs from the recorded one. The first line says
      what can be done, then `key: old → new` follows for each key that differs.
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
        f'{workdir} has a run of another model: use another --workdir\n{lines}'
    )
  if keys & {*PLACE}:
    raise ValueError(
        f'{workdir} has a run with other batches: to start from its weights,'
        f' pass --config.init_from={workdir} and another --workdir\n{lines}'
    )
  if 'optimizer.name' in keys:
    raise ValueError(
        f'{workdir} has a run with another optimizer, whose state does not fit:'
        f' to start from its weights, pass --config.init_from={workdir} and'
        f' another --workdir\n{lines}'
    )
  if keys and not allow_change:
    raise ValueError(
        f'{workdir} has a run with another config: use another --workdir, or'
        f' continue it with --allow_config_change\n{lines}'
    )


def _is_how(key):
  return any(key == how or key.startswith(f'{how}.') for how in HOW)


def _changes(old, new):
  """Returns a sorted list of (key, old, new) for the values that differ."""
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
