"""The keys of `config.objective`: what is predicted, and what it weighs."""

from jrt_jax.schema import KeyOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import Real

KEYS = dict(
    # next_token: all next tokens; prefix_lm: those after the prefix; jrt:
    # also masked tokens in the prefix
    name=('jrt', KeyOf('jrt_jax.data.objectives:OBJECTIVES')),
    # weight of the masked-token loss, if the next-token loss has weight 1
    mlm_weight=(0.25, Real(0, 1000)),
    # probability that a prefix token becomes [MASK]
    mask_rate=(0.15, Real(0, 1)),
    # weight of log²Z in the loss of each label, where Z normalises the
    # softmax; 1e-4 keeps logits small (https://arxiv.org/abs/2204.02311)
    z_loss=(0.0, Real(0, 1)),
    # whether the first token after the prefix has a loss (reference: no)
    boundary=('predict', OneOf('predict', 'reference')),
    # whether a masked token with id 0 has a loss (reference: no)
    token_zero=('predict', OneOf('predict', 'reference')),
)
