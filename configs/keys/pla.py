"""The keys of `config.model.pla`: how `pla` layers read the prefix."""

from jrt_jax.schema import Flag
from jrt_jax.schema import OneOf

KEYS = dict(
    # what queries read of the prefix. sum: the sum of φ(k) vᵀ; ridge: the
    # ridge regression from φ(k) to v; contracted: the sum, with less of what
    # many keys share. ridge and contracted train a strength for each head; with
    # them, the normalizer must be output_rms (what auto then means) or none
    prefix_reader=('sum', OneOf('sum', 'ridge', 'contracted')),
    # whether the causal half also reads the tokens of the prefix. False is an
    # ablation: such a model cannot read a prefix in blocks
    causal_in_prefix=(True, Flag()),
    # initial weights of the prefix values. With zero, and with the normalizer
    # output_rms or none, a model begins as its causal twin
    first_values=('random', OneOf('random', 'zero')),
)
