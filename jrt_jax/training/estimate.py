"""How long a run will take: its FLOPs, at a speed that its devices reach.

The speed is measured on a product of matrices in the dtype of the model, so
that it needs no table of devices, and is theirs as they are today.
"""

from collections.abc import Mapping
import time
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

from jrt_jax.models import cost
from jrt_jax.prefix import policies

# Of the speed of a product of matrices; few training runs reach more.
UTILIZATION = 0.5

_WIDTHS = {'cpu': 512}  # of matrices: they take a millisecond or so
_WIDTH = 8192  # on other platforms
_SECONDS = 0.2  # of measuring


def flops_per_token(
    config: Mapping[str, Any], mean_prefix: float | None = None
) -> float:
  """Of a training step, over the tokens of its batch.

  Args:
    config: of the run.
    mean_prefix: tokens of the prefix of a sequence; None: of one text.
  """
  length, objective = config['sequence_length'], config['objective']
  if mean_prefix is None:
    mean_prefix = policies.mean_prefix(config['prefix'], length)
  prefix = mean_prefix / length
  masked = objective['mask_rate'] if objective['name'] == 'jrt' else 0.0
  return cost.train_flops_per_token(
      config['model'],
      sequence_length=length,
      prefix_fraction=prefix,
      supervised_fraction=1 - prefix + prefix * masked,
  )


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
    matmul_rate: of all its devices, as `matmul_rate` measures.
    mean_prefix: see `flops_per_token`.
  """
  return UTILIZATION * matmul_rate / flops_per_token(config, mean_prefix)


def matmul_rate(mesh: Mesh, dtype: str) -> float:
  """Returns the FLOP/s of products of matrices on all devices of `mesh`.

  They compute at the same time, since some share a processor.
  """
  platform = mesh.devices.flat[0].platform
  n = _WIDTHS.get(platform, _WIDTH)
  own = NamedSharding(mesh, P(mesh.axis_names))  # a matrix for each device
  make = jax.jit(
      lambda: jnp.full((mesh.size, n, n), 1 / n, dtype), out_shardings=own
  )
  multiply = jax.jit(jnp.matmul, out_shardings=own)
  x = make()
  y = jax.block_until_ready(multiply(x, x))  # compiles
  products, start = 0, time.perf_counter()
  while (elapsed := time.perf_counter() - start) < _SECONDS or not products:
    for _ in range(8):  # dispatched without a wait
      y = multiply(x, y)
    jax.block_until_ready(y)
    products += 8
  return 2 * n**3 * mesh.size * products / elapsed
