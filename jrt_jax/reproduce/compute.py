"""The cost of the paper's experiments, in H100 hours."""

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
  """Returns the H100 hours of training a run with this config."""
  total = estimate.flops_per_token(config) * estimate.tokens(config)
  return _hours(total)


@functools.cache
def jrt_360m_hours() -> float:
  """Returns the H100 hours of training JRT-RNN 360M with 31.5B tokens."""
  return training_hours(jrt_360m.get_config().to_dict())


def reading_hours(parameters: float, tokens: float) -> float:
  """Returns the H100 hours that a model needs to read a number of tokens.

  It counts two operations for each parameter and token, without attention.
  """
  return _hours(2 * parameters * tokens)


def _hours(flops):
  return flops / (budget.PREDICTED_MFU * topology.GPUS['H100'].flops) / 3600
