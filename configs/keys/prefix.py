"""The keys of `config.prefix`: how much of a sequence is prefix."""

from jrt_jax.schema import Flag
from jrt_jax.schema import KeyOf
from jrt_jax.schema import ListOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import Real
from jrt_jax.schema import Text
from jrt_jax.schema import Whole

KEYS = dict(
    # policy that decides how many of the first tokens are prefix
    name=(
        'fixed',
        KeyOf('jrt_jax.prefix.policies:PREFIX_POLICIES'),
    ),
    # all policies except none and full: room for the prefix (its largest
    # length), as a fraction of sequence_length
    capacity=(0.5, Real(0, 1)),
    # learned: a file from jrt_jax.prefix.learn. entropy: one from
    # jrt_jax.prefix.calibrate; empty: calibrated on the training data
    file=('', Text()),
    # All keys below belong to entropy: complex text gets longer prefixes.
    # signal: how complexity is measured
    signal=(
        'conditional_entropy',
        OneOf(
            'unigram_entropy',
            'conditional_entropy',
            'compression_ratio',
            'distinct_ratio',
        ),
    ),
    # the signal is measured on windows of so many tokens; 0: on all at once
    window=(0, Whole(0, 2**22)),
    # how the values of several windows become one
    aggregate=('mean', OneOf('mean', 'max', 'p90')),
    # thresholds between levels, as quantiles of the signal
    quantiles=((1 / 3, 2 / 3), ListOf(Real(0, 1), 1, 100)),
    # prefix length of level u = 0, the middle one, as a fraction of room
    base=(0.5, Real(1e-6, 1)),
    # r: each level changes the length by this fraction
    increment=(0.1, Real(1e-6, 1)),
    # factor of the length at level u; linear: 1 + r u; geometric: (1 + r)^u
    growth=('linear', OneOf('linear', 'geometric')),
    reduce=(True, Flag()),  # whether simple text gets less than level 0
    # lengths are rounded to a multiple of this
    multiple=(1, Whole(1, 2**22)),
)
