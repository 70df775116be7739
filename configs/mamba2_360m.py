r"""Mamba-2 360M, a causal baseline of JRT-RNN 360M, same data and recipe.

python -m jrt_jax.train --config=configs/mamba2_360m.py \
    --workdir=runs/mamba2_360m --config.data.source=shards \
    --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

360,957,184 parameters, 1.2 % more than jrt_360m: 24 layers, each with an MLP as
in all models here; the published models have twice as many layers and no MLPs.
Source: https://arxiv.org/abs/2405.21060.
"""

from configs import base


def get_config():
  config = base.get_config()
  config.model.mixers = ('mamba2',) * 24
  config.prefix.name = 'none'
  config.objective.name = 'next_token'
  return config
