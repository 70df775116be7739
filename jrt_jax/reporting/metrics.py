"""Writes metrics to metrics.jsonl, TensorBoard, wandb and the terminal."""

from collections.abc import Mapping
import contextlib
import json
import math
import pathlib
import sys
import time
from typing import Any, TextIO

import numpy as np
import tensorboardX
import tqdm

from jrt_jax import atomic_write
from jrt_jax import foreign
from jrt_jax.reporting import units
from jrt_jax.reporting import wandb_log
from jrt_jax.schema import Anything
from jrt_jax.schema import Fields
from jrt_jax.schema import Whole


class MetricWriter:
  """Writes scalars to metrics.jsonl and to TensorBoard events in a workdir.

  With `config.wandb_project`, also to Weights & Biases.

  Args:
    workdir: an existing directory.
    step: the step that the run starts or resumes from. Metrics of later steps
      are removed, as the run will take these steps again.
    config: the config of the run; None: without wandb.
  """

  def __init__(
      self,
      workdir: pathlib.Path,
      step: int = 0,
      config: Mapping[str, Any] | None = None,
  ):
    self._destinations = [_JsonLines(workdir, step), _Events(workdir, step)]
    if config and config['wandb_project']:
      self._destinations.append(wandb_log.Wandb(workdir, step, config))

  def write(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Writes the metrics of `step`; values that are not finite become None.

    Args:
      step: number of steps taken.
      metrics: {name: number, scalar array or None}.
    """
    numbers = {name: number(value) for name, value in metrics.items()}
    for destination in self._destinations:
      destination.write(step, numbers)

  def close(self) -> None:
    for destination in self._destinations:
      destination.close()

  def __enter__(self) -> 'MetricWriter':
    return self

  def __exit__(self, *_) -> None:
    self.close()


class NoWriter(contextlib.nullcontext):
  """Writes nothing; for all processes of a run except the first."""

  def write(self, step: int, metrics: Mapping[str, Any]) -> None:
    pass


class _JsonLines:
  """Writes one line for each call; None becomes null."""

  def __init__(self, workdir, step):
    path = workdir / 'metrics.jsonl'
    _drop_after(path, step)
    self._file = open(path, 'a', encoding='utf-8')

  def write(self, step, numbers):
    line = json.dumps({'step': step} | numbers, allow_nan=False)
    self._file.write(line + '\n')
    self._file.flush()

  def close(self):
    self._file.close()


class _Events:
  """Writes events for TensorBoard; None is left out."""

  def __init__(self, workdir, step):
    self._writer = tensorboardX.SummaryWriter(
        str(workdir),
        purge_step=step + 1,
        filename_suffix=f'.{step}',  # otherwise names differ only in seconds
    )

  def write(self, step, numbers):
    for name, value in numbers.items():
      if value is not None:
        self._writer.add_scalar(name, value, step)
    self._writer.flush()

  def close(self):
    self._writer.close()


class Progress:
  """A progress bar with ETA and metrics on a terminal, else printed lines.

  Create it when training starts, since the ETA counts from then on.

  Args:
    start: the step that the run starts or resumes from.
    file: where to write; default: standard error.
  """

  def __init__(self, total: int, start: int = 0, file: TextIO | None = None):
    self._file = file or sys.stderr
    self._total = total
    self._start = start, time.perf_counter()
    self._bar = None
    if self._file.isatty():
      self._bar = tqdm.tqdm(
          total=total,
          initial=start,
          dynamic_ncols=True,
          bar_format='{n_fmt}/{total_fmt} {bar} {desc}ETA {remaining}',
          file=self._file,
      )

  def advance(self, step: int) -> None:
    """Moves the bar, if there is one, to `step`."""
    if self._bar is not None:
      self._bar.update(step - self._bar.n)

  def update(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Shows the step and its metrics."""
    shown = '  '.join(
        f'{name} {value:.4g}' if isinstance(value, float) else f'{name} {value}'
        for name, value in metrics.items()
    )
    if self._bar is not None:
      self._bar.set_description_str(f'{shown}  ', refresh=False)
      self.advance(step)
    else:
      self.print(f'step {step}/{self._total}  {shown}  ETA {self._eta(step)}')

  def print(self, line: str) -> None:
    """Writes a line, above the bar if there is one."""
    tqdm.tqdm.write(line, file=self._file)
    self._file.flush()

  def close(self) -> None:
    if self._bar is not None:
      self._bar.close()

  def _eta(self, step):
    start, then = self._start
    pace = (time.perf_counter() - then) / (step - start)
    return units.duration((self._total - step) * pace)


def has_recorded(workdir: pathlib.Path, step: int, kind: str) -> bool:
  """Whether metrics.jsonl has metrics of `step` whose names begin with `kind`.

  Args:
    step: number of steps taken.
    kind: one of `curves.EVALUATED`.
  """
  return any(name.startswith(kind) for name in read(workdir).get(step, ()))


def read(workdir: pathlib.Path) -> dict[int, dict[str, Any]]:
  """Returns the metrics of each step in metrics.jsonl by name; damage is skipped."""
  path, found = workdir / 'metrics.jsonl', {}
  lines = path.read_text(encoding='utf-8').splitlines() if path.exists() else ()
  for line in lines:
    with contextlib.suppress(ValueError):
      metrics = foreign.parse_json(line, '', _LINE)
      found.setdefault(metrics.pop('step'), {}).update(metrics)
  return found


def number(value: Any) -> int | float | None:
  """Returns what is written of a metric; None if it is not finite."""
  if value is None:
    return None
  value = np.asarray(value).item()
  return value if math.isfinite(value) else None


def _drop_after(path, step):
  """Removes the lines of later steps, and an unfinished line after a crash."""
  if not path.exists():
    return
  lines = path.read_text(encoding='utf-8').splitlines(keepends=True)
  kept = [line for line in lines if line.endswith('\n') and _step(line) <= step]
  atomic_write.text(path, ''.join(kept))


_LINE = Fields({'step': Whole(0, 10**9)}, others=Anything())


def _step(line):
  try:
    return foreign.parse_json(line, '', _LINE)['step']
  except ValueError:
    return math.inf
