r"""Mamba-2 with a prefix, for a CPU: the recipe of JRT-RNN tiny.

python -m jrt_jax.train --config=configs/prefix_mamba2_tiny.py \
    --workdir=runs/prefix_mamba2_tiny

1,314,800 parameters. Its causal twin is mamba2_tiny, whose MLPs are wider. Source:
https://arxiv.org/abs/2405.21060 and https://arxiv.org/abs/2407.05483; the
combination is ours.
"""

from configs import jrt_tiny


def get_config():
  config = jrt_tiny.get_config()
  config.model.mixers = ('prefix_mamba2',) * 6
  config.model.mamba2.num_heads = 8
  config.model.mamba2.head_dim = 32
  config.model.mamba2.state_dim = 64
  config.model.mlp_width = 128
  return config
