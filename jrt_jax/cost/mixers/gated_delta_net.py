"""The facts of `gdn`, the mixer of Gated DeltaNet, and of `prefix_gdn`."""

from jrt_jax.cost import weight
from jrt_jax.cost.mixers.base import ITEM_BYTES
from jrt_jax.cost.mixers.base import of_heads
from jrt_jax.cost.weight import Weight

_CHUNK = 64  # tokens of a chunk, of each of which backward keeps the state
_OF_PREFIX = ('k', 'v', 'beta', 'decay')  # what the encoder has of its own
_SETTINGS = tuple(
    f'gdn.{x}' for x in ('num_heads', 'key_dim', 'value_dim', 'conv_kernel')
)


def _sizes(config):
  """H, and the widths of the keys and of the values of all heads."""
  own = config['gdn']
  H = own['num_heads']
  return H, H * own['key_dim'], H * own['value_dim']


def _weights(config, *, reads_prefix):
  E, K = config['width'], config['gdn']['conv_kernel']
  H, keys, values = _sizes(config)
  convolved = {'q': keys, 'k': keys, 'v': values}
  projected = convolved | {'gate': values, 'beta': H, 'decay': H}
  weights = {}
  for name, width in projected.items():
    whole = weight.kernel((E, width), weight.IN)
    weights[f'proj_{name}.kernel'] = whole
    if reads_prefix and name in _OF_PREFIX:
      weights[f'proj_{name}_enc.kernel'] = weight.for_prefix(whole)
  for name, width in convolved.items():
    taps = weight.taps((K, width), weight.BY_CHANNEL)
    weights[f'conv_{name}.kernel'] = taps
    if reads_prefix and name in _OF_PREFIX:
      weights[f'conv_{name}_enc.kernel'] = weight.for_prefix(taps)
  for decay in ('decay', 'decay_enc')[: 1 + reads_prefix]:
    by_head = Weight((H,), weight.HEAD_AXES, decays=False)
    weights |= {f'{decay}.A_log': by_head, f'{decay}.dt_bias': by_head}
  return weights | {
      'gain': Weight((config['gdn']['value_dim'],)),
      'out_proj.kernel': weight.kernel((values, E), weight.OUT),
  }


def _state_bytes(config, length):
  """The inputs of K - 1 tokens to the convolutions, and a float32 matrix a head."""
  del length
  H, keys, values = _sizes(config)
  tails = (config['gdn']['conv_kernel'] - 1) * (2 * keys + values)
  return tails * ITEM_BYTES[config['dtype']] + 4 * keys * values // H


def _products(config, length, prefix_fraction, *, reads_prefix):
  """What the state holds under the key, k uᵀ, and what it holds for the query.

  A pass over the prefix has no queries.
  """
  del length
  H, keys, values = _sizes(config)
  passes = reads_prefix * _passes(config) * prefix_fraction
  return (3 + 2 * passes) * keys * values // H


def _kept(config, capacity, *, reads_prefix):
  """Each projection; and convolved, of norm 1, the outputs, gated and not."""
  H, keys, values = _sizes(config)
  room = reads_prefix * capacity
  projected = 2 * keys + 2 * values + 2 * H
  of_prefix = keys + values + 2 * H
  state = 4 * keys * values // H / ITEM_BYTES[config['dtype']] / _CHUNK
  kept = 4 * keys + 4 * values + state
  kept += room * (2 * keys + values + _passes(config) * state)
  projected += room * of_prefix
  return projected, projected + kept


def _passes(config):
  return 2 if config['gdn']['prefix_passes'] == 'both' else 1


GDN, PREFIX_GDN = of_heads(
    'jrt_jax.models.gated_delta_net:gdn',
    'jrt_jax.models.gated_delta_net:prefix_gdn',
    weights=_weights,
    state_bytes=_state_bytes,
    products=_products,
    kept=_kept,
    reach=lambda config: config['gdn']['conv_kernel'] - 1,
    settings=_SETTINGS,
)
PREFIX_GDN = PREFIX_GDN._replace(settings=(*_SETTINGS, 'gdn.prefix_passes'))
