r"""Prefix linear attention, with sliding-window attention in every fifth layer.

python -m jrt_jax.train --config=configs/pla_swa_360m.py \
    --workdir=runs/pla_swa_360m --config.data.source=shards \
    --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

355,275,648 parameters; 355,229,568 with 50264 embedding rows.
Source: https://arxiv.org/abs/2407.05483, the ablation of table 12.
"""

from configs import pla_pure_360m


def get_config():
  config = pla_pure_360m.get_config()
  config.model.mixers = (('pla', 'swa') + ('pla',) * 3) * 4 + (
      'pla',
      'swa',
      'pla',
  )
  return config
