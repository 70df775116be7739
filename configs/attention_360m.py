r"""Transformer++ 360M, the attention baseline of JRT-RNN 360M, same recipe.

python -m jrt_jax.train --config=configs/attention_360m.py \
    --workdir=runs/attention_360m --config.data.source=shards \
    --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

359,842,816 parameters; 359,810,048 with the 50272 embedding rows of the
released model. Source: https://arxiv.org/abs/2407.05483, with the layers of the
released configuration, whose rotary embeddings rotate half of each head.
"""

from configs import base


def get_config():
  config = base.get_config()
  config.microbatch_per_device = 16
  config.model.mixers = ('attention',) * 24
  config.model.mlp_width = 2816
  config.model.rope_fraction = 0.5
  config.prefix.name = 'none'
  config.objective.name = 'next_token'
  return config
