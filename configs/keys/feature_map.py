"""The keys of `config.model.feature_map`: φ of linear attention."""

from jrt_jax.schema import Flag
from jrt_jax.schema import KeyOf
from jrt_jax.schema import ListOf
from jrt_jax.schema import Real
from jrt_jax.schema import Whole

_MAPS = 'jrt_jax.cost.feature_maps:MAPS'

KEYS = dict(
    # map φ that linear attention applies to queries and keys
    name=('taylor_exp', KeyOf(_MAPS, others=('hybrid_heads',))),
    # D, width of the queries and keys of a head, before the map
    feature_dim=(16, Whole(1, 2**10)),
    order=(2, Whole(1, 8)),  # taylor_exp: order of the expansion
    # polynomial, symmetric_power: degree of the kernel
    degree=(2, Whole(1, 8)),
    offset=(1.0, Real(0, 10**6)),  # polynomial: c of (c + s)^degree
    # gaussian_rff, gaussian_prf, mlp: F, the number of features
    num_features=(152, Whole(1, 2**16)),
    # hybrid_heads, mixture: the maps that they combine; hybrid_heads
    # gives each a group of heads, mixture adds their kernels up
    parts=(
        ('taylor_exp', 'hedgehog'),
        ListOf(KeyOf(_MAPS, but='mixture'), 2, 8),
    ),
    # hybrid_heads: number of heads of each part; empty: equal groups
    heads=((), ListOf(Whole(1, 2**10), 0, 8)),
    # learned maps: whether prefix keys have a map of their own
    separate_encoder=(False, Flag()),
)
