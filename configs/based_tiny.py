r"""Based for a CPU, the causal baseline of JRT-RNN tiny, same recipe.

python -m jrt_jax.train --config=configs/based_tiny.py --workdir=runs/based_tiny

1,310,720 parameters, 0.5 % fewer than jrt_tiny: wider MLPs make up for the
missing projections of the prefix. Source: https://arxiv.org/abs/2402.18668,
made small.
"""

from configs import jrt_tiny


def get_config():
  config = jrt_tiny.get_config()
  config.model.mixers = ('conv', 'la', 'swa', 'conv', 'la', 'swa', 'conv')
  config.model.mlp_width = 272
  config.prefix.name = 'none'
  config.objective.name = 'next_token'
  return config
