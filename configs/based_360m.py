r"""Based 360M, the causal baseline of JRT-RNN 360M, same data and recipe.

python -m jrt_jax.train --config=configs/based_360m.py \
    --workdir=runs/based_360m --config.data.source=shards \
    --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

362,661,888 parameters; 362,620,928 with the 50264 embedding rows of the
released model. Source: https://arxiv.org/abs/2402.18668, as trained for
https://arxiv.org/abs/2407.05483: 27 layers, linear attention in place of
prefix linear attention, next-token loss on every token.
"""

from configs import base


def get_config():
  config = base.get_config()
  config.model.mixers = ('conv', 'la', 'swa', 'conv', 'conv') * 5 + (
      'conv',
  ) * 2
  config.prefix.name = 'none'
  config.objective.name = 'next_token'
  return config
