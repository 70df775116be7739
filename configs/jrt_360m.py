r"""JRT-RNN 360M: 60,000 steps of 256 x 2048 tokens (31.5B) of the Pile.

python -m jrt_jax.train --config=configs/jrt_360m.py --workdir=runs/jrt_360m \
    --config.data.source=shards --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

356,619,264 parameters; 356,578,304 with the 50264 embedding rows of the
released model. Source: https://arxiv.org/abs/2407.05483, table 15; the layers
are those of the released configuration.
"""

from configs import base


def get_config():
  return base.get_config()  # whose defaults are this model
