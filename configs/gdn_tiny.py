r"""Gated DeltaNet for a CPU, a causal baseline of JRT-RNN tiny, same recipe.

python -m jrt_jax.train --config=configs/gdn_tiny.py --workdir=runs/gdn_tiny

1,317,080 parameters, as many as jrt_tiny within 0.1 %. Source:
https://arxiv.org/abs/2412.06464, made small.
"""

from configs import jrt_tiny


def get_config():
  config = jrt_tiny.get_config()
  config.model.mixers = ('gdn',) * 6
  config.model.gdn.num_heads = 2
  config.model.gdn.key_dim = 48
  config.model.gdn.value_dim = 96
  config.model.mlp_width = 288
  config.prefix.name = 'none'
  config.objective.name = 'next_token'
  return config
