"""The facts of `mamba2`, the mixer of Mamba-2, and of `prefix_mamba2`."""

from jrt_jax.cost import weight
from jrt_jax.cost.mixers.base import ITEM_BYTES
from jrt_jax.cost.mixers.base import of_heads
from jrt_jax.cost.weight import Weight

_CHUNK = 64  # tokens of a chunk, of each of which backward keeps the state
_SETTINGS = tuple(
    f'mamba2.{x}'
    for x in ('num_heads', 'head_dim', 'state_dim', 'num_groups', 'conv_kernel')
)


def _sizes(config):
  """H, the width of the values of all heads, and that of B and C together."""
  own = config['mamba2']
  H, G = own['num_heads'], own['num_groups']
  if H % G:
    raise ValueError(
        f'config.model.mamba2.num_heads must be a multiple of num_groups={G},'
        f' got {H}'
    )
  return H, H * own['head_dim'], 2 * own['num_groups'] * own['state_dim']


def _weights(config, *, reads_prefix):
  E, K = config['width'], config['mamba2']['conv_kernel']
  H, inner, shared = _sizes(config)
  by_head = weight.HEAD_AXES
  return (_of_prefix(config) if reads_prefix else {}) | {
      'proj_gate.kernel': weight.kernel((E, inner), weight.IN),
      'proj_x.kernel': weight.kernel((E, inner), weight.IN),
      'proj_bc.kernel': weight.kernel((E, shared), ('fsdp', None)),
      'proj_dt.kernel': weight.kernel((E, H), weight.IN),
      'conv_x.kernel': weight.taps((K, inner), weight.BY_CHANNEL),
      'conv_x.bias': weight.bias((inner,), by_head),
      'conv_bc.kernel': weight.taps((K, shared)),
      'conv_bc.bias': weight.bias((shared,)),
      'decay.A_log': Weight((H,), by_head, decays=False),
      'decay.dt_bias': Weight((H,), by_head, decays=False),
      'skip': Weight((H,), by_head, decays=False),
      'gain': Weight((inner,), by_head),
      'out_proj.kernel': weight.kernel((inner, E), weight.OUT),
  }


def _of_prefix(config):
  """The encoder has no queries and no gate."""
  E, K = config['width'], config['mamba2']['conv_kernel']
  H, inner, shared = _sizes(config)
  by_head, keys = weight.HEAD_AXES, shared // 2
  weights = {
      'proj_x_enc.kernel': weight.kernel((E, inner), weight.IN),
      'proj_b_enc.kernel': weight.kernel((E, keys), ('fsdp', None)),
      'proj_dt_enc.kernel': weight.kernel((E, H), weight.IN),
      'conv_x_enc.kernel': weight.taps((K, inner), weight.BY_CHANNEL),
      'conv_x_enc.bias': weight.bias((inner,), by_head),
      'conv_b_enc.kernel': weight.taps((K, keys)),
      'conv_b_enc.bias': weight.bias((keys,)),
      'decay_enc.A_log': Weight((H,), by_head, decays=False),
      'decay_enc.dt_bias': Weight((H,), by_head, decays=False),
  }
  return {name: weight.for_prefix(x) for name, x in weights.items()}


def _memory(config):
  """Numbers of the state of all heads."""
  own = config['mamba2']
  return own['num_heads'] * own['head_dim'] * own['state_dim']


def _state_bytes(config, length):
  """The inputs of K - 1 tokens to the convolutions, and a float32 matrix a head."""
  del length
  _, inner, shared = _sizes(config)
  tails = (config['mamba2']['conv_kernel'] - 1) * (inner + shared)
  return tails * ITEM_BYTES[config['dtype']] + 4 * _memory(config)


def _products(config, length, prefix_fraction, *, reads_prefix):
  """B xᵀ, also of the prefix, and what the state holds under C."""
  del length
  return (2 + reads_prefix * prefix_fraction) * _memory(config)


def _kept(config, capacity, *, reads_prefix):
  """Each projection; and convolved, times Δ, the outputs, gated and not."""
  H, inner, shared = _sizes(config)
  room = reads_prefix * capacity
  projected = 2 * inner + shared + H + room * (inner + shared // 2 + H)
  state = 4 * _memory(config) / ITEM_BYTES[config['dtype']] / _CHUNK
  kept = 5 * inner + 2 * shared + state
  kept += room * (2 * inner + shared + state)
  return projected, projected + kept


MAMBA2, PREFIX_MAMBA2 = of_heads(
    'jrt_jax.models.mamba2:mamba2',
    'jrt_jax.models.mamba2:prefix_mamba2',
    weights=_weights,
    state_bytes=_state_bytes,
    products=_products,
    kept=_kept,
    reach=lambda config: config['mamba2']['conv_kernel'] - 1,
    settings=_SETTINGS,
)
