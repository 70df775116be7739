"""Sends metrics to Weights & Biases; if that fails, the run continues."""

from collections.abc import Callable, Mapping
import importlib.util
import pathlib
import secrets
from typing import Any

from absl import logging


def check(project: str) -> None:
  """Raises ValueError if `config.wandb_project` needs a package to install."""
  if not project:
    return
  spec = importlib.util.find_spec('wandb')
  if spec is None or spec.origin is None:  # None: a folder named wandb
    raise ValueError(
        f'config.wandb_project={project!r} needs the package wandb: pip install'
        ' wandb'
    )


class Wandb:
  """One run of wandb for a workdir; `WANDB_MODE=offline` keeps it on disk.

  After the first failure, for example of the network, a warning is logged and
  nothing more is sent; metrics.jsonl has everything.

  Args:
    workdir: an existing directory, which keeps the id of the wandb run.
    step: the step that the run starts or resumes from. If it repeats steps of a
      run that was killed, wandb ignores these.
    config: the config of the run, with `wandb_project`.
  """

  def __init__(
      self, workdir: pathlib.Path, step: int, config: Mapping[str, Any]
  ):
    self._run = None
    self._run = self._try(_start, workdir, step, config)

  def write(self, step: int, numbers: Mapping[str, float | None]) -> None:
    """Sends all numbers that are not None."""
    if self._run is not None:
      known = {name: x for name, x in numbers.items() if x is not None}
      self._try(self._run.log, known, step=step)

  def close(self) -> None:
    """Waits until everything is sent, for at most a minute."""
    if self._run is not None:
      self._try(self._run.finish)

  def _try(self, do: Callable, *args, **kwargs):
    try:
      return do(*args, **kwargs)
    except Exception as error:  # pylint: disable=broad-except
      self._run = None
      first_line = (str(error) or repr(error)).splitlines()[0]
      logging.warning(
          'wandb failed, the run continues without it: %s', first_line
      )


def _start(workdir, step, config):
  import wandb  # an extra, and slow to import

  return wandb.init(
      project=config['wandb_project'],
      id=_run_id(workdir / 'wandb_run_id', new=step == 0),
      name=workdir.resolve().name,
      dir=workdir,
      config=config,
      allow_val_change=True,  # a resumed run may have another config
      resume='allow',
      settings=wandb.Settings(finish_timeout=60),
  )


def _run_id(path, new):
  if new or not path.exists():
    path.write_text(secrets.token_hex(4) + '\n')
  return path.read_text().strip()
