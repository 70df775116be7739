r"""Based 1.3B, the causal baseline of JRT-RNN 1.3B, same data and recipe.

python -m jrt_jax.train --config=configs/based_1b.py --workdir=runs/based_1b \
    --config.data.source=shards --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

1,349,524,736 parameters; 1,349,453,056 with the 50264 embedding rows of the
released model. Source: https://arxiv.org/abs/2402.18668, as trained for
https://arxiv.org/abs/2407.05483.
"""

from configs import jrt_1b


def get_config():
  config = jrt_1b.get_config(linear_attention='la')
  config.prefix.name = 'none'
  config.objective.name = 'next_token'
  return config
