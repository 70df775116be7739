"""The keys of `config.mesh`: how many devices share each axis."""

from jrt_jax.schema import AnyOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import Whole

KEYS = dict(
    # divides the batch; -1: all devices that the other axes leave
    data=(-1, AnyOf(OneOf(-1), Whole(1, 2**20))),
    # divides weights and optimizer states, and also the batch
    fsdp=(1, Whole(1, 2**20)),
    # divides the positions of each row
    sequence=(1, Whole(1, 2**20)),
    # divides heads, MLPs and the vocabulary
    tensor=(1, Whole(1, 2**20)),
)
