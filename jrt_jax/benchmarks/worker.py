"""Measures a row, in a process of its own.

If a row runs out of memory, crashes or hangs, the other rows are not affected,
and the peak of memory is that of the row alone.
"""

from collections.abc import Mapping, Sequence
import contextlib
import logging
from typing import Any

import jax

from configs import base
from jrt_jax import models
from jrt_jax.benchmarks import decoding
from jrt_jax.benchmarks import plan
from jrt_jax.benchmarks import prefill
from jrt_jax.benchmarks import train_step
from jrt_jax.cost import layout
from jrt_jax.data import objectives
from jrt_jax.reporting import provenance
from jrt_jax.reporting import throughput
from jrt_jax.runtime import sharding

MEASUREMENTS = {
    'train step': train_step.measure,
    'prefill': prefill.measure,
    'prefill memory': prefill.measure_memory,
    'decode': decoding.measure,
    'decode drift': decoding.measure_drift,
}


def environment() -> dict[str, Any]:
  """Returns the devices and versions of the measurement."""
  device = jax.devices()[0]
  found = provenance.describe(on_jax=True)
  found['versions']['platform'] = device.client.platform_version
  return found | {
      'platform': device.platform,
      'devices': jax.device_count(),
      'memory_limit_bytes': (device.memory_stats() or {}).get('bytes_limit'),
  }


def check(configs: Sequence[Mapping[str, Any]]) -> None:
  """Raises ValueError for a config that cannot be measured."""
  for config in configs:
    base.check(config)
    objectives.check(
        config['objective'], config['prefix'], config['sequence_length']
    )
    mesh = sharding.make_mesh(config['mesh'])
    layout.check_batch(
        config['batch_size'], config['microbatch_per_device'], mesh.shape
    )
    models.abstract(config['model'])


def measure(row: plan.Row, config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the figures of a row, its implementations, and the memory."""
  with _dispatched() as implementations:
    figures = MEASUREMENTS[row.what](config)
  return figures | {
      'peak_bytes': throughput.peak_memory(),
      'implementations': implementations,
  }


@contextlib.contextmanager
def _dispatched():
  """Collects the log lines of `pallas_kernels` about implementations."""
  lines = []
  handler = logging.Handler()
  handler.emit = lambda record: lines.append(record.getMessage())
  log = logging.getLogger('pallas_kernels.dispatch')
  level = log.level
  log.addHandler(handler)
  log.setLevel(logging.INFO)
  log.propagate = False  # the row has these lines
  try:
    yield lines
  finally:
    log.removeHandler(handler)
    log.setLevel(level)
    log.propagate = True
