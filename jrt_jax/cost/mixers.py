"""What each mixer has, keeps and multiplies; `models` has what it computes."""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

from jrt_jax.cost import feature_maps

_CHUNK = 128  # tokens of a chunk of `chunked`
ITEM_BYTES = {'bfloat16': 2, 'float32': 4}  # by `config.model.dtype`

Shapes = Mapping[str, tuple[int, ...]]
Config = Mapping[str, Any]  # `config.model`


class Mixer(NamedTuple):
  """What one layer of a mixer costs.

  Attributes:
    shapes: of its parameters, by name.
    state_bytes: that decoding keeps of so many tokens.
    products: multiplications per token between activations, over all heads, of
      sequences of so many tokens with so large a fraction in their prefix.
    kept: values per token that a training step keeps for its backward pass,
      where prefixes have room for so large a fraction: what products with
      weights give, and all of them.
  """

  shapes: Callable[[Config], Shapes]
  state_bytes: Callable[[Config, int], int]
  products: Callable[[Config, int, float], float]
  kept: Callable[[Config, float], tuple[float, float]]


def head_width(width: int, num_heads: int, *, rotary: bool = False) -> int:
  """Returns V, the width of each head; ValueError if heads do not fit."""
  multiple = (2 if rotary else 1) * num_heads
  if width % multiple:
    what = 'rotary embeddings in ' if rotary else ''
    raise ValueError(
        f'config.model.width must be a multiple of {multiple} for {what}'
        f'{num_heads} heads, got {width}'
    )
  return width // num_heads


def _conv_shapes(config):
  E, K = config['width'], config['conv_kernel']
  I = config['conv_expand'] * E // 2
  return {
      'in_proj.kernel': (E, 2, I),
      'in_proj.bias': (2, I),
      'conv.kernel': (K, I),
      'out_proj.kernel': (I, E),
      'out_proj.bias': (E,),
  }


def _conv_state(config, length):
  """The inputs of the last K - 1 tokens."""
  del length
  K, I = _conv_shapes(config)['conv.kernel']
  return (K - 1) * I * ITEM_BYTES[config['dtype']]


def _conv_kept(config, capacity):
  """Both halves; and one convolved, and its product with the other."""
  del capacity
  _, I = _conv_shapes(config)['conv.kernel']
  return 2 * I, 4 * I


def _linear_shapes(config, *, reads_prefix):
  E, H = config['width'], config['num_heads']
  V = head_width(E, H)
  keys, values = (E, H * config['feature_map']['feature_dim']), (E, E)
  shapes = {
      'proj_q.kernel': keys,
      'proj_k.kernel': keys,
      'proj_v.kernel': values,
      'out_proj.kernel': values,
  }
  if reads_prefix:
    shapes |= {'proj_k_enc.kernel': keys, 'proj_v_enc.kernel': values}
  for i, group in enumerate(_groups(config, reads_prefix)):
    maps = ['feature_map'] + ['feature_map_enc'] * group.separate
    own = {f'{m}.{k}': x for m in maps for k, x in group.map.shapes.items()}
    if _normalizes_outputs(config, group):
      own['gain'] = (group.num_heads, V)
    shapes |= {f'groups.{i}.{name}': x for name, x in own.items()}
  return shapes


def _linear_state(config, length):
  """Sums of φ(k) vᵀ and of φ(k), in float32."""
  del length
  V = head_width(config['width'], config['num_heads'])
  return 4 * _features(config) * (V + 1)


def _linear_products(config, length, prefix_fraction, *, reads_prefix):
  """S += φ(k) vᵀ, φ(q)·S, and the prefix."""
  del length
  V = head_width(config['width'], config['num_heads'])
  return _features(config) * V * (2 + reads_prefix * prefix_fraction)


def _linear_kept(config, capacity, *, reads_prefix):
  """Queries, keys, values, those of the prefix; its input, outputs, normalisers.

  `chunked` keeps the float32 state of each chunk as well.
  """
  E, H = config['width'], config['num_heads']
  D, room = config['feature_map']['feature_dim'], reads_prefix * capacity
  bytes_each = ITEM_BYTES[config['dtype']]
  projected = (1 + room) * (H * D + E) + H * D
  kept = projected + E + room * E + H * 4 / bytes_each
  if config['implementation'] == 'chunked':
    kept += _linear_state(config, 0) / bytes_each / _CHUNK
  return projected, kept


def _groups(config, reads_prefix):
  return feature_maps.groups(
      config['feature_map'], config['num_heads'], reads_prefix=reads_prefix
  )


def _features(config):
  return sum(x.num_heads * x.map.width for x in _groups(config, False))


def _normalizes_outputs(config, group):
  normalizer, sign = config['normalizer'], group.map.sign
  return feature_maps.resolve_normalizer(normalizer, sign) == 'output_rms'


def _softmax_shapes(config):
  E = config['width']
  head_width(E, config['num_heads'], rotary=True)
  return {'qkv.kernel': (E, 3, E), 'out_proj.kernel': (E, E)}


def _softmax_state(config, length, *, windowed):
  """A key and a value for each slot, and the count of tokens."""
  slots = config['window'] + config['sinks'] if windowed else length
  return 2 * slots * config['width'] * ITEM_BYTES[config['dtype']] + 4


def _softmax_products(config, length, prefix_fraction, *, windowed):
  """Scores and values; the first tokens see fewer."""
  del prefix_fraction
  most = length
  if windowed:
    most = min(config['window'] + config['sinks'], length)
  mean = most - most * (most - 1) / (2 * length)
  return 2 * mean * config['width']


def _softmax_kept(config, capacity):
  """Queries, keys, values; outputs, and the sum of each head's weights."""
  del capacity
  E, H = config['width'], config['num_heads']
  return 3 * E, 4 * E + H * 4 / ITEM_BYTES[config['dtype']]


def _linear(reads_prefix):
  bind = functools.partial
  return Mixer(
      bind(_linear_shapes, reads_prefix=reads_prefix),
      _linear_state,
      bind(_linear_products, reads_prefix=reads_prefix),
      bind(_linear_kept, reads_prefix=reads_prefix),
  )


def _softmax(windowed):
  bind = functools.partial
  return Mixer(
      _softmax_shapes,
      bind(_softmax_state, windowed=windowed),
      bind(_softmax_products, windowed=windowed),
      _softmax_kept,
  )


MIXERS = {
    'conv': Mixer(_conv_shapes, _conv_state, lambda *_: 0, _conv_kept),
    'pla': _linear(reads_prefix=True),
    'la': _linear(reads_prefix=False),
    'swa': _softmax(windowed=True),
    'attention': _softmax(windowed=False),
}
