r"""Mamba-2 360M with a prefix: data, objective and recipe of JRT-RNN 360M.

python -m jrt_jax.train --config=configs/prefix_mamba2_360m.py \
    --workdir=runs/prefix_mamba2_360m --config.data.source=shards \
    --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

358,860,544 parameters. Its causal twin is mamba2_360m, whose MLPs are wider. Source:
https://arxiv.org/abs/2405.21060 and https://arxiv.org/abs/2407.05483; the
combination is ours.
"""

from configs import base


def get_config():
  config = base.get_config()
  config.model.mixers = ('prefix_mamba2',) * 24
  config.model.mlp_width = 1280
  return config
