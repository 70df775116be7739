"""The facts of `gdn`, the mixer of Gated DeltaNet."""

from jrt_jax.cost import weight
from jrt_jax.cost.mixers.base import ITEM_BYTES
from jrt_jax.cost.mixers.base import Mixer
from jrt_jax.cost.weight import Weight

_CHUNK = 64  # tokens of a chunk, of each of which backward keeps the state


def _sizes(config):
  """H, and the widths of the keys and of the values of all heads."""
  own = config['gdn']
  H = own['num_heads']
  return H, H * own['key_dim'], H * own['value_dim']


def _weights(config):
  E, K = config['width'], config['gdn']['conv_kernel']
  H, keys, values = _sizes(config)
  widths = {'q': keys, 'k': keys, 'v': values}
  projections = widths | {'gate': values, 'beta': H, 'decay': H}
  return {
      **{
          f'proj_{name}.kernel': weight.kernel((E, width), weight.IN)
          for name, width in projections.items()
      },
      **{
          f'conv_{name}.kernel': weight.kernel((K, width), weight.BY_CHANNEL)
          for name, width in widths.items()
      },
      'decay.A_log': Weight((H,), weight.HEAD_AXES, decays=False),
      'decay.dt_bias': Weight((H,), weight.HEAD_AXES, decays=False),
      'gain': Weight((config['gdn']['value_dim'],)),
      'out_proj.kernel': weight.kernel((values, E), weight.OUT),
  }


def _state_bytes(config, length):
  """The inputs of K - 1 tokens to the convolutions, and a float32 matrix a head."""
  del length
  H, keys, values = _sizes(config)
  tails = (config['gdn']['conv_kernel'] - 1) * (2 * keys + values)
  return tails * ITEM_BYTES[config['dtype']] + 4 * keys * values // H


def _products(config, length, prefix_fraction):
  """What the state holds under the key, k uᵀ, and what it holds for the query."""
  del length, prefix_fraction
  H, keys, values = _sizes(config)
  return 3 * keys * values // H


def _kept(config, capacity):
  """Each projection; and convolved, of norm 1, the outputs, gated and not."""
  del capacity
  H, keys, values = _sizes(config)
  projected = 2 * keys + 2 * values + 2 * H
  state = 4 * keys * values // H / ITEM_BYTES[config['dtype']] / _CHUNK
  return projected, projected + 4 * keys + 4 * values + state


GDN = Mixer(
    module='jrt_jax.models.gated_delta_net:gdn',
    weights=_weights,
    state_bytes=_state_bytes,
    products=_products,
    kept=_kept,
    state_axes=(weight.BATCH_AXES, weight.HEAD_AXES),
)
