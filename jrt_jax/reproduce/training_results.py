"""Exhibits of the metrics that runs of `jrt_jax.train` have recorded.

Runs with the most steps in their config are whole runs. Runs with fewer steps
are trials, for example of learning rates; they are not compared with whole
runs.
"""

from collections.abc import Iterable, Iterator, Mapping
import pathlib
from typing import Any, NamedTuple

from jrt_jax.reporting import curves
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import measured
from jrt_jax.training import recorded_config

_FILE = 'metrics.jsonl'
_LOSS = 'held_out/bits_per_byte'


class Run(NamedTuple):
  """A run and its losses."""

  kind: str  # one of `measured.KINDS`
  steps: int
  peak_lr: float
  seed: int
  curve: list[tuple[float, float]]  # tokens, held-out bits per byte

  @property
  def last(self) -> float:
    """Held-out bits per byte at the end."""
    return self.curve[-1][1]


def jobs(request: exhibit.Request) -> list[exhibit.Job]:
  """Returns a job for each run below --results; there may be none."""
  try:
    return measured.jobs(request, _FILE, 'python -m jrt_jax.train')
  except FileNotFoundError:
    return []


def is_one(settings: Mapping[str, Any]) -> bool:
  """Whether settings are those of a job of `jobs`."""
  return pathlib.Path(settings['file']).name == _FILE


def measure(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the figures of a job of `jobs`.

  Raises:
    ValueError: it is not a run, or its files are damaged.
  """
  workdir = pathlib.Path(settings['file']).parent
  config = recorded_config.read(workdir / 'config.json')
  curve = curves.read([workdir])[0].curves.get(_LOSS)
  points = [] if curve is None else zip(curve.tokens, curve.values)
  return {
      'mixers': config['model']['mixers'],
      'name': workdir.name,
      'steps': config['steps'],
      'peak_lr': config['optimizer']['peak_lr'],
      'seed': config['seed'],
      'curve': [*points],
  }


def runs(results: exhibit.Results) -> Iterator[Run]:
  """Yields the runs among the results that were evaluated."""
  for done in results.values():
    found = done.figures
    if is_one(done.settings) and found['curve']:
      kind = measured.kind(found['mixers'], found['name'])
      names = ('steps', 'peak_lr', 'seed')
      yield Run(kind, *(found[x] for x in names), curve=found['curve'])


def whole_and_trials(found: Iterable[Run]) -> tuple[list[Run], list[Run]]:
  """Returns whole runs, and trials."""
  found = [*found]
  most = max((run.steps for run in found), default=0)
  whole = [run for run in found if run.steps == most]
  return whole, [run for run in found if run.steps < most]
