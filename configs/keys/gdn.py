"""The keys of `config.model.gdn`: Gated DeltaNet, with and without a prefix."""

from jrt_jax.schema import OneOf
from jrt_jax.schema import Whole

KEYS = dict(
    num_heads=(6, Whole(1, 2**10)),  # H, heads of the layer
    key_dim=(128, Whole(1, 2**12)),  # width of keys of each head
    value_dim=(256, Whole(1, 2**12)),  # width of values of each head
    conv_kernel=(4, Whole(2, 2**8)),  # taps of its convolutions
    # prefix_gdn layers: the direction in which the state reads the prefix; both
    # takes two passes, forward and then reversed
    prefix_passes=('forward', OneOf('forward', 'reversed', 'both')),
)
