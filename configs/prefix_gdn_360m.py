r"""Gated DeltaNet 360M with a prefix: data, objective and recipe of JRT-RNN 360M.

python -m jrt_jax.train --config=configs/prefix_gdn_360m.py \
    --workdir=runs/prefix_gdn_360m --config.data.source=shards \
    --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

354,664,000 parameters. Its causal twin is gdn_360m, whose MLPs are wider. Source:
https://arxiv.org/abs/2412.06464 and https://arxiv.org/abs/2407.05483; the
combination is ours.
"""

from configs import base


def get_config():
  config = base.get_config()
  config.model.mixers = ('prefix_gdn',) * 24
  config.model.mlp_width = 1280
  return config
