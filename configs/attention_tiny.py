r"""A Transformer with the recipe of JRT-RNN tiny: the attention baseline.

python -m jrt_jax.train --config=configs/attention_tiny.py \
    --workdir=runs/attention_tiny

1,316,224 parameters, 0.05 % fewer than jrt_tiny has: the MLPs are wider, since
attention has fewer parameters than a convolution. Rotary embeddings turn half
of each head. Source: the attention model of https://arxiv.org/abs/2407.05483,
made small.
"""

from configs import jrt_tiny


def get_config():
  config = jrt_tiny.get_config()
  config.model.mixers = ('attention',) * 7
  config.model.mlp_width = 300
  config.model.rope_fraction = 0.5
  config.prefix.name = 'none'
  config.objective.name = 'next_token'
  return config
