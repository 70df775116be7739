r"""JRT-RNN 1.3B: 100,000 steps of 256 x 2048 tokens (52.4B) of the Pile.

python -m jrt_jax.train --config=configs/jrt_1b.py --workdir=runs/jrt_1b \
    --config.data.source=shards --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

1,375,214,848 parameters; 1,375,143,168 with the 50264 embedding rows of the
released model. Source: https://arxiv.org/abs/2407.05483, table 15; the layers
are those of the released configuration.
"""

from configs import base

LINEAR = (1, 6, 11, 16, 21, 27, 33)  # layers; a `swa` layer follows each


def get_config(linear_attention='pla'):
  config = base.get_config()
  config.steps = 100_000
  config.optimizer.warmup_steps = 1000
  mixers = ['conv'] * 36
  for layer in LINEAR:
    mixers[layer : layer + 2] = linear_attention, 'swa'
  config.model.mixers = tuple(mixers)
  config.model.width = 1792
  config.model.mlp_width = 3584
  return config
