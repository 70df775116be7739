"""Metrics on Weights & Biases, which may fail without ending the run."""

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
  if spec is None or spec.origin is None:  # a folder that wandb left, maybe
    raise ValueError(
        f'config.wandb_project={project!r} needs the package wandb: pip install'
        ' wandb'
    )


class Wandb:
  """One run of wandb for a workdir; `WANDB_MODE=offline` keeps it on disk.

  The first failure, of the network for instance, is told, and ends what is
  sent: wandb is a copy of metrics.jsonl.

  Args:
    workdir: an existing directory, which keeps the id of the run.
    step: the step that a run starts or resumes from. What it repeats of a run
      that was killed, wandb has already and ignores.
    config: of the run; `wandb_project` is where it is shown.
  """

  def __init__(
      self, workdir: pathlib.Path, step: int, config: Mapping[str, Any]
  ):
    self._run = None
    self._run = self._try(_start, workdir, step, config)

  def write(self, step: int, numbers: Mapping[str, float | None]) -> None:
    """Sends what is not None."""
    if self._run is not None:
      known = {name: x for name, x in numbers.items() if x is not None}
      self._try(self._run.log, known, step=step)

  def close(self) -> None:
    """Waits until all is sent, for a minute at most."""
    if self._run is not None:
      self._try(self._run.finish)

  def _try(self, do: Callable, *args, **kwargs):
    try:
      return do(*args, **kwargs)
    except Exception as error:  # pylint: disable=broad-except
      self._run = None
      first_line = (str(error) or repr(error)).splitlines()[0]
      logging.warning('wandb failed, the run goes on without: %s', first_line)


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
