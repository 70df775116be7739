"""The facts of `conv`, a gated short convolution."""

from jrt_jax.cost import weight
from jrt_jax.cost.mixers.base import ITEM_BYTES
from jrt_jax.cost.mixers.base import Mixer


def _inner(config):
  """I, the width of the values, and also of the gates."""
  return config['conv_expand'] * config['width'] // 2


def _weights(config):
  E, K, I = config['width'], config['conv_kernel'], _inner(config)
  return {
      'in_proj.kernel': weight.kernel((E, 2, I), weight.IN_STACKED),
      'in_proj.bias': weight.bias((2, I), weight.BY_CHANNEL),
      'conv.kernel': weight.taps((K, I), weight.BY_CHANNEL),
      'out_proj.kernel': weight.kernel((I, E), weight.OUT),
      'out_proj.bias': weight.bias((E,)),
  }


def _state_bytes(config, length):
  """The inputs of the last K - 1 tokens."""
  del length
  K, I = config['conv_kernel'], _inner(config)
  return (K - 1) * I * ITEM_BYTES[config['dtype']]


def _kept(config, capacity):
  """Values and gates; and also convolved values, and their gated product."""
  del capacity
  return 2 * _inner(config), 4 * _inner(config)


CONV = Mixer(
    module='jrt_jax.models.base_conv:conv',
    weights=_weights,
    state_bytes=_state_bytes,
    products=lambda *_: 0,
    kept=_kept,
    reach=lambda config: config['conv_kernel'] - 1,
    state_axes=(weight.BATCH_AXES, None, weight.HEAD_AXES),
)
