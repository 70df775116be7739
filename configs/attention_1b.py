r"""Transformer++ 1.3B, the attention baseline of JRT-RNN 1.3B, same recipe.

python -m jrt_jax.train --config=configs/attention_1b.py \
    --workdir=runs/attention_1b --config.data.source=shards \
    --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

1,327,134,480 parameters; 1,327,080,720 with the 50272 embedding rows of the
released model. Source: https://arxiv.org/abs/2407.05483, with the layers of the
released configuration, whose rotary embeddings rotate half of each head.
"""

from configs import base


def get_config():
  config = base.get_config()
  config.steps = 100_000
  config.optimizer.warmup_steps = 1000
  config.model.mixers = ('attention',) * 36
  config.model.width = 1680
  config.model.num_heads = 24
  config.model.mlp_width = 4608
  config.model.rope_fraction = 0.5
  config.prefix.name = 'none'
  config.objective.name = 'next_token'
  return config
