"""Curricula: the sizes that samples have in each step of training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def mixed(sizes: Sequence, stage: int) -> Sequence:
  """All sizes at every step."""
  del stage
  return sizes


def one_by_one(sizes: Sequence, stage: int) -> Sequence:
  """One size in each stage, in the order of the config."""
  return sizes[stage : stage + 1]


def cumulative(sizes: Sequence, stage: int) -> Sequence:
  """Adds one size in each stage and keeps those before."""
  return sizes[: stage + 1]


CURRICULA = {
    'mixed': mixed,
    'one_by_one': one_by_one,
    'cumulative': cumulative,
}


def known(sizes: Sequence, settings: Mapping[str, Any], step: int) -> Sequence:
  """Returns the sizes that a step draws from, each with the same probability.

  Args:
    sizes: all sizes, in the order of the config.
    settings: `config.data.synthetic`.
    step: the step of training, from 0.
  """
  ends = np.cumsum(settings['stage_steps'], dtype=int)
  stage = int(np.searchsorted(ends, step, side='right'))
  return CURRICULA[settings['curriculum']](sizes, stage)


def check(settings: Mapping[str, Any], num_sizes: int) -> None:
  """Raises ValueError unless the stages fit the number of sizes."""
  name, steps = settings['curriculum'], settings['stage_steps']
  needed = 0 if name == 'mixed' else num_sizes - 1
  if len(steps) != needed:
    raise ValueError(
        f'config.data.synthetic.stage_steps must have {needed} numbers with'
        f' {num_sizes} sizes and curriculum={name!r} (the last stage has no'
        f' end), got {len(steps)}'
    )
