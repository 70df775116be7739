"""The keys of `config.optimizer`: AdamW or Muon, and the schedule."""

from jrt_jax.schema import KeyOf
from jrt_jax.schema import Real
from jrt_jax.schema import Whole

_COUNT = Whole(1, 10**9)
_COUNT_OR_0 = Whole(0, 10**9)

KEYS = dict(
    # adamw; muon: matrices get updates with equal singular values, all other
    # parameters and the embedding those of AdamW
    # (https://arxiv.org/abs/2502.16982)
    name=('adamw', KeyOf('jrt_jax.cost.optimizers:OPTIMIZERS')),
    peak_lr=(8e-4, Real(1e-12, 10)),  # learning rate after the warm-up
    # learning rate at the last step; a cosine leads to it
    min_lr=(8e-5, Real(0, 10)),
    initial_lr=(1e-6, Real(0, 10)),  # learning rate of the first step
    # steps in which the learning rate rises to peak_lr
    warmup_steps=(600, _COUNT_OR_0),
    b1=(0.9, Real(0, 0.9999)),  # decay of AdamW's mean of gradients
    b2=(0.95, Real(0, 0.999999)),  # decay of its mean of their squares
    eps=(1e-8, Real(1e-30, 1)),  # what AdamW adds to its denominator
    momentum=(0.95, Real(0, 0.9999)),  # decay of Muon's mean of gradients
    # root mean square of Muon's updates of a matrix, before the learning rate;
    # 0.2 is about that of AdamW, whose learning rates then suit Muon
    update_rms=(0.2, Real(1e-6, 100)),
    weight_decay=(0.1, Real(0, 10)),  # spares embeddings and biases
    # largest norm of the whole gradient; 0: no clipping
    clip_norm=(1.0, Real(0, 10**9)),
    # the run stops after so many skipped steps in a row, when it logs
    max_bad_steps=(20, _COUNT),
    # a step is skipped if its gradient norm exceeds this multiple of the
    # mean norm; 0: never
    spike_factor=(0.0, Real(0, 10**9)),
)
