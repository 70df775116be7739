r"""Small models that learn a synthetic recall task; no data are needed.

python -m jrt_jax.train --config=configs/synthetic.py:mqar --workdir=runs/mqar

The name after the colon is a synthetic task, small enough for one CPU core and
a model of 40 thousand parameters. `--config.data.synthetic.KEY=VALUE` changes
the task, and `--config.prefix.name=none` makes the model causal. On `multi_hop`
the model has not become better than guessing in this number of steps.
"""

from configs import base

# By task: steps, the length of a sequence, and the settings of the task.
TASKS = {
    'mqar': (500, 32, {'sizes': ((32, 4), (32, 6)), 'num_ids': 32}),
    'selective_recall': (
        1500,
        40,
        {'sizes': (6, 10), 'num_ids': 30, 'categories': 2, 'queries': 2},
    ),
    'set_disjointness': (
        2000,
        24,
        {'sizes': ((2, 16), (16, 2)), 'num_ids': 40},
    ),
    'general_associative_recall': (500, 36, {'sizes': (4, 8), 'num_ids': 30}),
    'needle': (1000, 24, {'sizes': (4, 8), 'num_ids': 24, 'queries': 2}),
    'forward_reference': (500, 28, {'sizes': (4, 8), 'num_ids': 24}),
    'multi_hop': (2000, 24, {'sizes': (6, 8), 'num_ids': 20, 'queries': 2}),
}


def get_config(choice='mqar'):
  """Returns the config of a task."""
  if choice not in TASKS:
    raise ValueError(
        '--config=configs/synthetic.py:TASK must name a task of'
        f' {sorted(TASKS)}, got {choice!r}'
    )
  config = base.get_config()
  config.batch_size = 64
  config.microbatch_per_device = 64
  config.steps, config.sequence_length, task = TASKS[choice]

  config.model.mixers = ('conv', 'pla', 'conv', 'pla')
  config.model.width = 32
  config.model.num_heads = 1
  config.model.mlp_width = 64
  config.model.conv_expand = 2
  config.model.conv_kernel = 4
  config.model.feature_map.feature_dim = 4
  # At 0.02, which suits a width of 1024, queries and keys are nearly uniform.
  config.model.init_std = 0.02 * (1024 / config.model.width) ** 0.5
  if choice == 'selective_recall':  # not learned with weights that sum to 1
    config.model.normalizer = 'output_rms'
  config.model.vocab_size = 1  # training enlarges it to the ids of the task
  config.model.mask_id = 0
  config.model.dtype = 'float32'

  config.prefix.name = 'full'  # the prefix is the whole prompt
  config.objective.name = 'prefix_lm'
  config.data.source = choice
  config.data.synthetic.update(task)

  config.optimizer.peak_lr = 1e-2
  config.optimizer.min_lr = 1e-4
  config.optimizer.warmup_steps = 100

  config.log_every = 100
  config.eval_every = 500
  config.eval_batches = 8
  config.checkpoint_every = 500
  return config
