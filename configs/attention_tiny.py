r"""A Transformer for a CPU, the attention baseline of JRT-RNN tiny, same
recipe.

python -m jrt_jax.train --config=configs/attention_tiny.py \
    --workdir=runs/attention_tiny

1,316,224 parameters, 0.05 % fewer than jrt_tiny: the MLPs are wider, since
attention has fewer parameters than a convolution. Rotary embeddings rotate half
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
