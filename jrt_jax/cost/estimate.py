"""How long a run will take: its FLOPs, at a speed that its devices reach."""

from collections.abc import Mapping
from typing import Any

from jrt_jax import cost
from jrt_jax.prefix import policies

# Of the speed of a product of matrices; few training runs reach more.
UTILIZATION = 0.5


def flops_per_token(
    config: Mapping[str, Any], mean_prefix: float | None = None
) -> float:
  """The sum of `flops_by_part`, which has the same arguments."""
  return sum(flops_by_part(config, mean_prefix).values())


def flops_by_part(
    config: Mapping[str, Any], mean_prefix: float | None = None
) -> dict[str, float]:
  """Of a training step, over the tokens of its batch; see `cost.train_flops`.

  Args:
    config: of the run.
    mean_prefix: tokens of the prefix of a sequence; None: of one text.
  """
  return cost.train_flops(
      config['model'],
      sequence_length=config['sequence_length'],
      prefix_fraction=_prefix_fraction(config, mean_prefix),
      supervised_fraction=supervised_fraction(config, mean_prefix),
  )


def supervised_fraction(
    config: Mapping[str, Any], mean_prefix: float | None = None
) -> float:
  """Returns how many of the tokens have a label; arguments as `flops_by_part`."""
  prefix, objective = _prefix_fraction(config, mean_prefix), config['objective']
  masked = objective['mask_rate'] if objective['name'] == 'jrt' else 0.0
  return 1 - prefix + prefix * masked


def _prefix_fraction(config, mean_prefix):
  length = config['sequence_length']
  if mean_prefix is None:
    mean_prefix = policies.mean_prefix(config['prefix'], length)
  return mean_prefix / length


def tokens(config: Mapping[str, Any]) -> int:
  """Of the whole run."""
  return config['steps'] * config['batch_size'] * config['sequence_length']


def tokens_per_second(
    config: Mapping[str, Any],
    matmul_rate: float,
    mean_prefix: float | None = None,
) -> float:
  """Returns how fast a run will train.

  Args:
    config: of the run.
    matmul_rate: of all its devices, as `throughput.matmul_rate` measures.
    mean_prefix: see `flops_per_token`.
  """
  return UTILIZATION * matmul_rate / flops_per_token(config, mean_prefix)
