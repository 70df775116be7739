"""The measurements, their models and workloads, and the targets.

A goal has an identifier that the documentation cites, G14 to G22. It has a row
for our model and, if there are baselines, rows for them with the same workload
and the same measurement.
"""

from collections.abc import Collection, Mapping
import dataclasses
import importlib
from typing import Any

import ml_collections

# Overrides that change how a workload is computed, but not the workload.
HOW = {'microbatch_per_device', 'model.implementation', 'model.remat'}


@dataclasses.dataclass(frozen=True)
class Target:
  """The value that a figure of a row must reach, and a more ambitious one."""

  figure: str
  must: float
  stretch: float | None = None
  at_most: bool = False  # whether lower is better

  def __str__(self):
    return f'{self.figure} {"<=" if self.at_most else ">="} {self.must:,g}'

  def met(self, value: float) -> str:
    """Returns 'stretch', 'must' or 'no'."""
    for level in ('stretch', 'must'):
      limit = getattr(self, level)
      if limit is None:
        continue
      if value <= limit if self.at_most else value >= limit:
        return level
    return 'no'


@dataclasses.dataclass(frozen=True)
class Row:
  """One measurement.

  Attributes:
    goal: the identifier of its goal.
    what: a key of `worker.MEASUREMENTS`.
    model: a config, `configs/<model>.py`.
    work: the workload: changes of the config, by dotted key.
    target: None for baselines, and for workloads other than the goal's.
  """

  goal: str
  what: str
  model: str
  work: Mapping[str, Any]
  target: Target | None = None

  def __str__(self):
    size = f'{self.work["batch_size"]} x {self.work["sequence_length"]}'
    return f'{self.goal} {self.what} of {self.model}, {size}'


def _rate(must, stretch=None):
  return Target('tokens_per_second', must, stretch)


def _most(figure, must, stretch=None):
  return Target(figure, must, stretch, at_most=True)


def _row(goal, what, model, batch_size, length, target=None):
  work = {'batch_size': batch_size, 'sequence_length': length, 'mesh.data': 1}
  return Row(goal, what, model, work, target)


# Our models come first, and important goals come before others. The targets are
# from rooflines of an H200 and the speed of the fastest public trainers on an
# H100.
GPU = (
    _row('G14', 'train step', 'jrt_360m', 32, 2048, _rate(208e3, 231e3)),
    _row('G21', 'prefill', 'jrt_360m', 1, 2**15, _most('ms', 50, 40)),
    _row('G18', 'decode', 'jrt_360m', 1, 2048, _rate(1800, 2900)),
    _row('G19', 'decode', 'jrt_360m', 64, 8192, _rate(85e3, 130e3)),
    _row('G19', 'decode', 'jrt_360m', 256, 2048, _rate(160e3)),
    _row('G20', 'decode drift', 'jrt_360m', 1, 2**17, _most('drift', 1.03)),
    _row(
        *('G22', 'prefill memory', 'jrt_360m', 1, 2048),
        _most('peak_bytes', 2.5e9, 1.5e9),
    ),
    _row('G15', 'train step', 'jrt_1b', 32, 2048, _rate(60e3, 66e3)),
    _row('G18', 'decode', 'jrt_1b', 1, 2048, _rate(900, 1150)),
    _row('G19', 'decode', 'jrt_1b', 64, 8192, _rate(33e3, 45e3)),
    _row('G19', 'decode', 'jrt_1b', 256, 2048, _rate(65e3)),
    _row('G14', 'train step', 'attention_360m', 32, 2048),
    _row('G14', 'train step', 'based_360m', 32, 2048),
    _row('G21', 'prefill', 'attention_360m', 1, 2**15),
    _row('G21', 'prefill', 'based_360m', 1, 2**15),
    _row('G18', 'decode', 'attention_360m', 1, 2048),
    _row('G19', 'decode', 'attention_360m', 64, 8192),
    _row('G19', 'decode', 'based_360m', 64, 8192),
    _row('G20', 'decode drift', 'attention_360m', 1, 2**15),
    _row('G22', 'prefill memory', 'attention_360m', 1, 2048),
    _row('G15', 'train step', 'attention_1b', 32, 2048),
)

# The same measurements for models that two cores can run, without targets.
CPU = (
    _row('G14', 'train step', 'jrt_tiny', 4, 512),
    _row('G20', 'decode drift', 'jrt_tiny', 1, 100 * 2**10),
    _row('G21', 'prefill', 'jrt_tiny', 1, 2**11),
    _row('G22', 'prefill memory', 'jrt_tiny', 1, 128),
    _row('G14', 'train step', 'based_tiny', 4, 512),
    _row('G14', 'train step', 'gdn_tiny', 4, 512),
    _row('G14', 'train step', 'mamba2_tiny', 4, 512),
    _row('G14', 'train step', 'attention_tiny', 4, 512),
)


def select(rows: Collection[Row], goals: Collection[str]) -> list[Row]:
  """Returns the rows of `goals`, or all rows if `goals` is empty.

  Raises:
    ValueError: a goal has no rows.
  """
  known = sorted({row.goal for row in rows})
  for goal in goals:
    if goal not in known:
      raise ValueError(
          f'--only must name some of {", ".join(known)}, got {goal!r}'
      )
  return [row for row in rows if not goals or row.goal in goals]


def of_model(rows: Collection[Row], model: str) -> list[Row]:
  """Returns the rows of one model.

  A model without rows gets the workloads of all goals, without targets.
  """
  if own := [row for row in rows if row.model == model]:
    return own
  first = {(row.what, *sorted(row.work.items())): row for row in rows[::-1]}
  return [
      dataclasses.replace(row, model=model, target=None)
      for row in reversed(first.values())
  ]


def change(row: Row, overrides: Mapping[str, Any]) -> Row:
  """Returns a row with a changed config; another workload has no target."""
  target = row.target if overrides.keys() <= HOW else None
  work = {**row.work, **overrides}
  return dataclasses.replace(row, work=work, target=target)


def config(
    row: Row, file: ml_collections.ConfigDict | None = None
) -> dict[str, Any]:
  """Returns the config of a row as plain dicts.

  Args:
    row: the row; its `work` is applied to the config.
    file: the config to use in place of that in `configs/`.
  """
  if file is None:
    file = importlib.import_module(f'configs.{row.model}').get_config()
  changed = file.copy_and_resolve_references()
  changed.update_from_flattened_dict(row.work)
  return changed.to_dict()
