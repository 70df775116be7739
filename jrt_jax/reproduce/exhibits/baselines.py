"""Recall with a prefix, against causal recurrent models with equal states.

Rule, fixed before anything was measured: that of `gains`. A prefix must gain
over the causal twin for each of three mixers, and prefix linear attention over
each causal mixer. The least gain is 0; the control is softmax attention.

All models have four layers of the same width; every second layer is the mixer
that is compared. The decode states, those of convolutions included, differ by
at most 3 %. All linear attention normalises its outputs (`output_rms`), which
was best in `ablations`; the other two mixers always do.

Only single runs with seed 0 came before, to choose sizes and steps. On two idle
cores of an AMD EPYC each task takes about half an hour (an estimate).

The tasks are `mqar`, whose prefix does not contain the questions, and
`set_disjointness`. The learning rates span a factor of 30, because recurrent
models learn recall at few of them (https://arxiv.org/abs/2508.19029).
"""

from jrt_jax.reproduce import arms as arms_lib
from jrt_jax.reproduce import compute
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import gains

# Each causal mixer, and the same with a prefix.
_PREFIX = {'la': 'pla', 'gdn': 'prefix_gdn', 'mamba2': 'prefix_mamba2'}
WORDS = {
    'pla': 'prefix linear attention (JRT-RNN)',
    'la': 'causal linear attention (Based)',
    'gdn': 'Gated DeltaNet',
    'mamba2': 'Mamba-2',
    'prefix_gdn': 'Gated DeltaNet with a prefix',
    'prefix_mamba2': 'Mamba-2 with a prefix',
    'attention': 'control: softmax attention, causal',
}
# What must gain: each prefix over its causal twin, and JRT-RNN over all of them.
PAIRS = {
    f'{WORDS[x]} over {WORDS[over]}': gains.Pair(x, over)
    for over, twin in _PREFIX.items()
    for x in dict.fromkeys(('pla', twin))
}
_COMMON = {
    'model.normalizer': 'output_rms',
    'model.feature_map.feature_dim': 4,
    'batch_size': 32,
    'microbatch_per_device': 32,
}
# A layer has 1,980 bytes of state with linear attention, 1,936 with Gated
# DeltaNet and 1,968 with Mamba-2.
_OWN = {
    'gdn': {'num_heads': 2, 'key_dim': 10, 'value_dim': 14},
    'mamba2': {'num_heads': 2, 'head_dim': 14, 'state_dim': 12},
}
# By task and scale: steps, the length of sequences, sizes and the number of ids.
_TASKS = {
    'mqar': {
        'cpu': (1500, 48, ((48, 4), (48, 8)), 64),
        'gpu': (20_000, 256, ((256, 16), (256, 32), (256, 64)), 1024),
    },
    'set_disjointness': {
        'cpu': (1500, 22, ((2, 16), (16, 2)), 40),
        'gpu': (50_000, 264, ((4, 256), (256, 4)), 1028),
    },
}
_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
_NUM_SEEDS = 3


def _settings(steps, length, sizes, num_ids):
  return _COMMON | {
      'steps': steps,
      'sequence_length': length,
      'data.synthetic.sizes': sizes,
      'data.synthetic.num_ids': num_ids,
      'eval_every': steps // 4,
      'checkpoint_every': steps // 2,
  }


def _arm(mixer):
  part = mixer.removeprefix('prefix_')
  own = {f'model.{part}.{x}': n for x, n in _OWN.get(part, {}).items()}
  return {'model.mixers': ('conv', mixer, 'conv', mixer)} | own


def _arms(task):
  return arms_lib.Arms(
      WORDS,
      {
          scale: [
              arms_lib.sweep(
                  task,
                  _settings(*size),
                  {x: _arm(x) for x in WORDS},
                  rates=_RATES,
                  num_seeds=_NUM_SEEDS,
              )
          ]
          for scale, size in _TASKS[task].items()
      },
  )


def at_paper_scale() -> exhibit.AtPaperScale:
  """Returns what a comparison of language models takes."""
  return exhibit.AtPaperScale(
      [
          f'python -m jrt_jax.train --config=configs/{x}.py --workdir=runs/{x}'
          for x in ('jrt_360m', 'based_360m', 'gdn_360m', 'mamba2_360m')
      ],
      4 * compute.jrt_360m_hours(),
      'Four models of 360M parameters with 31.5B tokens each, counted as JRT-RNN.',
  )


def _exhibit(task):
  return gains.make(
      _arms(task),
      PAIRS,
      caption=(
          'Answers that are right (%), at the best learning rate of each model and'
          ' for fresh seeds'
      ),
      title=f'Causal recurrent models with equal states: {task}',
      source='Arora et al. 2024, Table 2; Yang et al. 2024 (Gated DeltaNet)',
      claim=(
          'A recurrent model that reads its prompt in both directions recalls more'
          ' than causal ones with states of the same size.'
      ),
      at_paper_scale=at_paper_scale,
  )


MQAR = _exhibit('mqar')
SET_DISJOINTNESS = _exhibit('set_disjointness')
