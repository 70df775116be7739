"""The keys of `config.model.pla`: how `pla` layers read the prefix."""

from jrt_jax.schema import OneOf

KEYS = dict(
    # what queries read of the prefix. sum: the sum of φ(k) vᵀ; ridge: the
    # ridge regression from φ(k) to v, with a trained strength for each head.
    # ridge needs the normalizer output_rms, which auto then is, or none
    prefix_reader=('sum', OneOf('sum', 'ridge')),
)
