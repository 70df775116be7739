r"""Prefix linear attention in every layer, no convolutions or sliding windows.

python -m jrt_jax.train --config=configs/pla_pure_360m.py \
    --workdir=runs/pla_pure_360m --config.data.source=shards \
    --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

353,063,808 parameters; 353,017,728 with 50264 embedding rows.
Source: https://arxiv.org/abs/2407.05483, the ablation of table 12.
"""

from configs import base


def get_config():
  config = base.get_config()
  config.model.mixers = ('pla',) * 23
  config.model.width = 1152
  config.model.mlp_width = 2304
  return config
