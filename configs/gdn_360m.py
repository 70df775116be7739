r"""Gated DeltaNet 360M, a causal baseline of JRT-RNN 360M, same data and recipe.

python -m jrt_jax.train --config=configs/gdn_360m.py --workdir=runs/gdn_360m \
    --config.data.source=shards --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

354,147,616 parameters, 0.7 % fewer than jrt_360m: 24 layers, each with an MLP
as in all models here. Keys take 0.75 of the width and values 1.5 of it. Source:
https://arxiv.org/abs/2412.06464.
"""

from configs import base


def get_config():
  config = base.get_config()
  config.model.mixers = ('gdn',) * 24
  config.prefix.name = 'none'
  config.objective.name = 'next_token'
  return config
