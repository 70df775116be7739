r"""Small models of recall, on questions that are drawn: no data are needed.

python -m jrt_jax.train --config=configs/synthetic.py:mqar --workdir=runs/mqar

CHOICE is a synthetic task. Two layers of prefix linear attention, each after a
short convolution, and an answer at many positions of each sequence.
`--config.data.synthetic.KEY=VALUE` changes the task, `--config.prefix.name=none`
makes the model causal.
"""

from configs import base

# What differs from one task to the next.
TASKS = {
    'mqar': {
        'sequence_length': 64,
        'data.synthetic.sizes': ((64, 4), (64, 8), (64, 16)),
        'data.synthetic.num_ids': 128,
    },
    'selective_recall': {
        'sequence_length': 128,
        'data.synthetic.sizes': (4, 8, 16, 32),
        'data.synthetic.num_ids': 136,
    },
    'set_disjointness': {
        'sequence_length': 48,
        'data.synthetic.sizes': ((2, 8), (8, 2), (4, 32), (32, 4)),
        'data.synthetic.num_ids': 128,
    },
    'general_associative_recall': {
        'sequence_length': 64,
        'data.synthetic.sizes': (4, 8, 16),
        'data.synthetic.num_ids': 100,
    },
    'needle': {
        'sequence_length': 64,
        'data.synthetic.sizes': (4, 8, 16),
        'data.synthetic.num_ids': 100,
        'data.synthetic.queries': 4,
    },
    'forward_reference': {
        'sequence_length': 32,
        'data.synthetic.sizes': (4, 8),
        'data.synthetic.num_ids': 68,
    },
    'multi_hop': {
        'sequence_length': 64,
        'data.synthetic.sizes': (4, 8, 16),
        'data.synthetic.num_ids': 68,
    },
}


def get_config(choice='mqar'):
  """Returns the config of a task."""
  if choice not in TASKS:
    raise ValueError(
        f'--config=configs/synthetic.py:TASK must have a task of'
        f' {sorted(TASKS)}, got {choice!r}'
    )
  config = base.get_config()
  config.steps = 1000
  config.batch_size = 64
  config.microbatch_per_device = 64

  config.model.mixers = ('conv', 'pla') * 2
  config.model.width = 64
  config.model.num_heads = 2
  config.model.mlp_width = 128
  config.model.vocab_size = 1  # the task has more: its ids, and [MASK]
  config.model.mask_id = 0
  config.model.dtype = 'float32'

  config.prefix.name = 'full'
  config.objective.name = 'prefix_lm'
  config.data.source = choice

  config.optimizer.peak_lr = 3e-3
  config.optimizer.min_lr = 3e-5
  config.optimizer.warmup_steps = 50

  config.eval_every = 250
  config.eval_batches = 8
  config.checkpoint_every = 250
  config.update_from_flattened_dict(TASKS[choice])
  return config
