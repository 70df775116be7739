r"""Mamba-2 for a CPU, a causal baseline of JRT-RNN tiny, same recipe.

python -m jrt_jax.train --config=configs/mamba2_tiny.py --workdir=runs/mamba2_tiny

1,311,248 parameters, 0.4 % fewer than jrt_tiny. Source:
https://arxiv.org/abs/2405.21060, made small.
"""

from configs import jrt_tiny


def get_config():
  config = jrt_tiny.get_config()
  config.model.mixers = ('mamba2',) * 6
  config.model.mamba2.num_heads = 8
  config.model.mamba2.head_dim = 32
  config.model.mamba2.state_dim = 64
  config.model.mlp_width = 240
  config.prefix.name = 'none'
  config.objective.name = 'next_token'
  return config
