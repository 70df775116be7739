"""Estimates how long a run will take, from its FLOPs and the devices' speed."""

from collections.abc import Mapping
from typing import Any

from jrt_jax import cost
from jrt_jax.prefix import policies

# The fraction of the speed of matrix products that a run is assumed to reach.
UTILIZATION = 0.5


def flops_per_token(
    config: Mapping[str, Any], mean_prefix: float | None = None
) -> float:
  """Returns the sum of `flops_by_part`, with the same arguments."""
  return sum(flops_by_part(config, mean_prefix).values())


def flops_by_part(
    config: Mapping[str, Any], mean_prefix: float | None = None
) -> dict[str, float]:
  """Returns the FLOPs of training per token, by part; see `cost.train_flops`.

  Args:
    mean_prefix: mean length of the prefix of a sequence; None: that of
      sequences which are a single text.
  """
  return cost.train_flops(
      config['model'],
      sequence_length=config['sequence_length'],
      prefix_fraction=_prefix_fraction(config, mean_prefix),
      supervised_fraction=supervised_fraction(config, mean_prefix),
      documents_in_prefix=config['data']['documents_in_prefix'],
  )


def supervised_fraction(
    config: Mapping[str, Any], mean_prefix: float | None = None
) -> float:
  """Returns the fraction of tokens with a label; see `flops_by_part`."""
  prefix, objective = _prefix_fraction(config, mean_prefix), config['objective']
  masked = objective['mask_rate'] if objective['name'] == 'jrt' else 0.0
  return 1 - prefix + prefix * masked


def _prefix_fraction(config, mean_prefix):
  length = config['sequence_length']
  if mean_prefix is None:
    mean_prefix = policies.mean_prefix(config['prefix'], length)
  return mean_prefix / length


def tokens(config: Mapping[str, Any]) -> int:
  """Returns the number of training tokens of the whole run."""
  return config['steps'] * config['batch_size'] * config['sequence_length']


def tokens_per_second(
    config: Mapping[str, Any],
    matmul_rate: float,
    mean_prefix: float | None = None,
) -> float:
  """Returns the expected speed of training.

  Args:
    matmul_rate: FLOP/s of all devices, from `throughput.matmul_rate`.
    mean_prefix: see `flops_per_token`.
  """
  return UTILIZATION * matmul_rate / flops_per_token(config, mean_prefix)
