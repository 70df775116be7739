"""Checks of a config before a run reads any file."""

from collections.abc import Mapping
from typing import Any

import jax

from configs import base
from jrt_jax.data import documents_in_prefix
from jrt_jax.data import examples
from jrt_jax.data import objectives
from jrt_jax.data import packings
from jrt_jax.data.synthetic import tasks
from jrt_jax.prefix import policies
from jrt_jax.reporting import wandb_log
from pallas_kernels.prefix_linear_attention import mosaic_sm90_devices


def check(config: Mapping[str, Any]) -> None:
  """Raises ValueError for mistakes that would otherwise be noticed late."""
  base.check(config)
  data = config['data']
  source, packing = data['source'], data['packing']
  if source in tasks.TASKS:
    examples.check_of_task(
        source,
        prefix=config['prefix'],
        packing=packing,
        repeat=data['repeat'],
    )
  prefix = config['prefix']['name']
  fit = policies.PREFIX_POLICIES[prefix].fit
  separates, of_each = packings.PACKINGS[packing][1:]
  if fit and fit.of_windows and separates:
    raise ValueError(
        f'config.prefix.name must not be {prefix!r} with config.data.packing='
        f'{packing!r}: its {fit.rising} are measured on whole windows, but'
        ' they would be applied to single documents'
    )
  if of_each:
    _check_prefixes(config['model']['pla'], packing)
  objectives.check(
      config['objective'], config['prefix'], config['sequence_length']
  )
  documents_in_prefix.check(config)
  wandb_log.check(config['wandb_project'])


def _check_prefixes(pla, packing):
  """Raises ValueError if `pla` layers cannot read several prefixes of a row."""
  for key, value in (('prefix_reader', 'sum'), ('causal_in_prefix', True)):
    if pla[key] != value:
      raise ValueError(
          f'config.model.pla.{key} must be {value!r} with config.data.packing='
          f'{packing!r}, which gives a row several prefixes, got {pla[key]!r}'
      )


def check_kernels(implementation: str, mesh: jax.sharding.Mesh) -> None:
  """Raises ValueError if the devices cannot run the implementation."""
  device = mesh.devices.flat[0]
  capability = getattr(device, 'compute_capability', None)
  needs_hopper = implementation.startswith('mosaic_sm90')
  if needs_hopper and not mosaic_sm90_devices.is_hopper(capability):
    raise ValueError(
        'config.model.implementation must be auto, chunked or reference on'
        f' {device.device_kind} devices, which are not Hopper GPUs, got'
        f' {implementation}'
    )
