"""The keys of `config.model.mamba2`: the layers of Mamba-2."""

from jrt_jax.schema import Whole

KEYS = dict(
    num_heads=(32, Whole(1, 2**10)),  # H, heads of the layer
    head_dim=(64, Whole(1, 2**12)),  # width of values of each head
    state_dim=(128, Whole(1, 2**12)),  # N, width of B and C
    num_groups=(1, Whole(1, 2**10)),  # groups of heads with one B and C
    conv_kernel=(4, Whole(2, 2**8)),  # taps of its convolutions
)
