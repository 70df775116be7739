"""What the experiments of the paper would take, in hours of an H100."""

from collections.abc import Mapping
import functools
from typing import Any

from configs import jrt_360m
from jrt_jax.cost import estimate
from jrt_jax.cost import topology
from jrt_jax.planning import budget

PEAK = (
    f'an H100 at {budget.PREDICTED_MFU:.0%} of its 989 TFLOP/s (bfloat16), as'
    ' predicted by jrt_jax.plan'
)


def training_hours(config: Mapping[str, Any]) -> float:
  """Returns the hours of one H100 that training takes.

  Args:
    config: of the run.
  """
  total = estimate.flops_per_token(config) * estimate.tokens(config)
  return _hours(total)


@functools.cache
def jrt_360m_hours() -> float:
  """Returns the hours of one H100 that JRT-RNN 360M takes, with 31.5B tokens."""
  return training_hours(jrt_360m.get_config().to_dict())


def reading_hours(parameters: float, tokens: float) -> float:
  """Returns the hours of one H100 that a model takes to read so many tokens.

  Two operations for each parameter and token; attention is not counted.
  """
  return _hours(2 * parameters * tokens)


def _hours(flops):
  return flops / (budget.PREDICTED_MFU * topology.GPUS['H100'].flops) / 3600
