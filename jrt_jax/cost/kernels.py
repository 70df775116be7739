"""Which models the Hopper kernels can compute, from their configs.

This repeats the limits of the kernels, for planning without jax; a test
compares them.
"""

from collections.abc import Mapping
from typing import Any

from jrt_jax.cost import feature_maps
from jrt_jax.cost import mixers

# The value of `config.model.implementation` that uses the kernels, and plain
# JAX for inputs that they do not support.
KERNELS_OR_CHUNKED = 'mosaic_sm90_or_chunked'

KEY_WIDTHS = 8, 16  # D
VALUE_WIDTHS = 64, 112, 128  # V; others are padded to the next larger one


def has_linear_attention(model: Mapping[str, Any]) -> bool:
  """Whether a layer of `config.model` is linear attention, prefix or not."""
  return any(mixers.MIXERS[x].linear_attention for x in model['mixers'])


def value_width(model: Mapping[str, Any]) -> int | None:
  """Returns V of the kernels that can compute the heads, or None.

  Smaller heads are padded to this V. It is None for models in float32, as no
  config allows to compute their products in bfloat16.

  Args:
    model: `config.model`.

  Raises:
    ValueError: the heads do not divide the width.
  """
  if not has_linear_attention(model):
    return None
  V = mixers.head_width(model['width'], model['num_heads'])
  feature_map = model['feature_map']
  hybrid = feature_map['name'] == feature_maps.HYBRID
  maps = feature_map['parts'] if hybrid else [feature_map['name']]
  takes = (
      'taylor_exp' in maps
      and feature_map['order'] == 2
      and feature_map['feature_dim'] in KEY_WIDTHS
      and model['dtype'] == 'bfloat16'
  )
  return next((x for x in VALUE_WIDTHS if takes and V <= x), None)
