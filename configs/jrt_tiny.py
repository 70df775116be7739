r"""A JRT-RNN that learns Python on two CPU cores in under five minutes.

python -m jrt_jax.train --config=configs/jrt_tiny.py --workdir=runs/jrt_tiny

It reads the bytes of Python's standard library; nothing is downloaded.
1,316,864 parameters. Source: https://arxiv.org/abs/2407.05483, made small.
"""

from configs import base


def get_config():
  config = base.get_config()
  config.steps = 700
  config.batch_size = 4
  config.sequence_length = 512
  config.microbatch_per_device = 1  # fits into the caches of a CPU

  config.model.mixers = ('conv', 'pla', 'swa', 'conv', 'pla', 'swa', 'conv')
  config.model.width = 128
  config.model.num_heads = 4
  config.model.mlp_width = 256
  config.model.vocab_size = 258  # 256 bytes, end of text, [MASK]
  config.model.mask_id = 257
  config.model.window = 65
  config.model.dtype = 'float32'

  config.optimizer.peak_lr = 3e-3
  config.optimizer.min_lr = 3e-4
  config.optimizer.warmup_steps = 50

  config.eval_every = 350
  config.eval_batches = 32
  config.checkpoint_every = 350
  return config
