r"""Gated DeltaNet with a prefix, for a CPU: the recipe of JRT-RNN tiny.

python -m jrt_jax.train --config=configs/prefix_gdn_tiny.py \
    --workdir=runs/prefix_gdn_tiny

1,315,568 parameters. Its causal twin is gdn_tiny, whose MLPs are wider. Source:
https://arxiv.org/abs/2412.06464 and https://arxiv.org/abs/2407.05483; the
combination is ours.
"""

from configs import jrt_tiny


def get_config():
  config = jrt_tiny.get_config()
  config.model.mixers = ('prefix_gdn',) * 6
  config.model.gdn.num_heads = 2
  config.model.gdn.key_dim = 48
  config.model.gdn.value_dim = 96
  config.model.mlp_width = 187
  return config
