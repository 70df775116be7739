"""The facts of `attention` and `swa`: softmax attention over all or W keys."""

import functools
import math

from jrt_jax.cost import weight
from jrt_jax.cost.mixers.base import head_width
from jrt_jax.cost.mixers.base import ITEM_BYTES
from jrt_jax.cost.mixers.base import Mixer


def _weights(config):
  E = config['width']
  head_width(E, config['num_heads'], rotary=True)
  return {
      'qkv.kernel': weight.kernel((E, 3, E), weight.IN_STACKED),
      'out_proj.kernel': weight.kernel((E, E), weight.OUT),
  }


def _state_bytes(config, length, *, windowed):
  """A key and a value for each slot, and the count of tokens."""
  slots = config['window'] + config['sinks'] if windowed else length
  return 2 * slots * config['width'] * ITEM_BYTES[config['dtype']] + 4


def _products(config, length, prefix_fraction, *, windowed):
  """Those of scores and values; the first tokens see fewer keys."""
  del prefix_fraction
  most = length
  if windowed:
    most = min(config['window'] + config['sinks'], length)
  mean = most - most * (most - 1) / (2 * length)
  return 2 * mean * config['width']


def _kept(config, capacity):
  """Queries, keys and values; then outputs, and the sum of weights per head."""
  del capacity
  E, H = config['width'], config['num_heads']
  return 3 * E, 4 * E + H * 4 / ITEM_BYTES[config['dtype']]


def _reach(config):
  """Sinks may be on any device."""
  return math.inf if config['sinks'] else max(config['window'] - 1, 1)


def _softmax_attention(module, windowed):
  bind = functools.partial
  return Mixer(
      module=module,
      weights=_weights,
      state_bytes=bind(_state_bytes, windowed=windowed),
      products=bind(_products, windowed=windowed),
      kept=_kept,
      gathered=lambda config: 0 if windowed else 2 * config['width'],
      reach=_reach if windowed else lambda config: 0,
      state_axes=(weight.BATCH_AXES, None, weight.HEAD_AXES),
      model_heads=True,
      state_grows=not windowed,
  )


_MODULE = 'jrt_jax.models.softmax_attention'
SWA = _softmax_attention(f'{_MODULE}:swa', windowed=True)
ATTENTION = _softmax_attention(f'{_MODULE}:attention', windowed=False)
