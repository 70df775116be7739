r"""JRT-RNN 28M: an evening on one GPU, or a shorter training overnight on a
CPU.

python -m jrt_jax.train --config=configs/jrt_28m.py --workdir=runs/jrt_28m \
    --config.data.source=shards --config.data.path=shards/mine \
    --config.data.tokenizer=shards/mine/tokenizer.json

28,211,712 parameters with a tokenizer of 10,239 ids. Prepare your own text:

python -m jrt_jax.data.train_tokenizer --input='mine/*.txt' \
    --vocab_size=10239 --out=tokenizer.json
python -m jrt_jax.data.prepare --input='mine/*.txt' \
    --tokenizer=tokenizer.json --out=shards/mine

By default, it trains 20,000 steps of 128 x 1024 tokens: 2.6B tokens, 93 for
each parameter. `--config=configs/jrt_28m.py:laptop` trains the same model on a
CPU: 6,000 steps of 8 x 512 tokens, which are 25M tokens and only 0.9 for each
parameter. About 20 tokens per parameter make the best use of a given amount of
computation (https://arxiv.org/abs/2203.15556), so the second model is far from
finished.

Predicted time on a GPU: 3h40m by `jrt_jax.plan --topology=1xA100 --mfu=0.1`,
and 23 minutes by `jrt_jax.plan --topology=1xH100 --traffic` (30 % of the peak,
which no GPU has confirmed). On 2 cores of an AMD EPYC, a step of :laptop took
9.0 CPU-seconds (2026-11-30, other programs running), so that 6,000 steps take
7.5 hours if both cores are always busy. Learning rates have not been tuned.
Source: https://arxiv.org/abs/2407.05483, made small.
"""

from configs import base

MACHINES = ('gpu', 'laptop')


def get_config(machine='gpu'):
  """Returns the config for a machine of `MACHINES`; the model is the same."""
  if machine not in MACHINES:
    raise ValueError(
        '--config=configs/jrt_28m.py:MACHINE must name a machine of'
        f' {", ".join(MACHINES)}, got {machine!r}'
    )
  config = base.get_config()
  config.model.mixers = ('conv', 'pla', 'swa', 'conv') * 2
  config.model.width = 512
  config.model.num_heads = 8
  config.model.mlp_width = 1024
  config.model.vocab_size = 10_240
  config.model.mask_id = 10_239

  config.steps = 20_000
  config.batch_size = 128
  config.sequence_length = 1024
  config.microbatch_per_device = 32
  config.optimizer.peak_lr = 2e-3
  config.optimizer.min_lr = 2e-4
  if machine == 'laptop':
    config.steps = 6000
    config.batch_size = 8
    config.sequence_length = 512
    config.microbatch_per_device = 1  # fits into the caches of a CPU
    config.optimizer.warmup_steps = 200
    config.eval_every = 500
    config.eval_batches = 32
    config.checkpoint_every = 100  # about ten minutes
  return config
