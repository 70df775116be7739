"""A trained causal model learns to read its prompt in both directions.

A model with linear attention (`la`) is trained on text. Then it goes on for a
tenth of its steps, twice: as it is, and with a prefix (`pla`). The values of
the prefix are zero at first, so that the model begins as its causal twin:

  S_M = S_causal + Σ φ(k_e) v_eᵀ,  v_e = 0 at first.

The projections k_e and v_e have full rank. Both arms see the same sequences,
learn the same tokens (those after the prefix), and are scored on the same.

Rule, fixed before anything was measured: the score is the accuracy on held-out
tokens that end a rare pair read before. The claim fails if the mean gain over
fresh seeds is less than 1 point. It holds if the interval of the gain is above
1 point; otherwise it is not decided. Each arm has the learning rate that was
best for it with the trial seed.

On two idle cores of an AMD EPYC this takes about half an hour (an estimate).
"""

import numpy as np

from configs import based_tiny
from jrt_jax.evaluation import statistics
from jrt_jax.reproduce import compute
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import training
from jrt_jax.training import recorded_config

_STEPS = {'cpu': 700, 'gpu': 7000}  # of the causal model
_RATES = (3e-4, 1e-3, 3e-3)
_TRIAL, _SEEDS = 0, (11, 12, 13)
_LEAST = 1.0  # points
_SCORE = 'recall_accuracy'
_ARMS = {
    'la': {},
    'pla': {
        'model.mixers': [
            'pla' if x == 'la' else x
            for x in based_tiny.get_config().model.mixers
        ],
        'model.pla.first_values': 'zero',
    },
}
_WORDS = {'base': 'before', 'la': 'causal', 'pla': 'with a prefix'}


def _plan(request, results):
  settings = {'scale': request.scale, 'steps': _STEPS[request.scale]}
  every = {arm: list(_RATES) for arm in _ARMS}
  yield exhibit.Job('trial', settings | {'seed': _TRIAL, 'rates': every})
  if 'trial' in results:
    best = {arm: [_best(results, arm)] for arm in _ARMS}
    for seed in _SEEDS:
      name = f'run-seed{seed}'
      yield exhibit.Job(name, settings | {'seed': seed, 'rates': best})


def _best(results, arm):
  """The rate with the highest score in the trial."""
  scores = results['trial'].figures[arm]
  known = [-1.0 if x is None else x for x in scores]
  return _RATES[known.index(max(known))]


def measure(settings, workdir):
  """Trains the causal model, and then each arm at each of its rates.

  Returns:
    For each arm its scores, in the order of its rates, from 0 to 1; and `base`,
    the score before.
  """

  def score(name, keys):
    return training.run(_config(keys), workdir / name).get(_SCORE)

  steps, seed = settings['steps'], settings['seed']
  further = {
      'init_from': str(workdir / 'base'),
      'init_new': True,
      'steps': steps // 10,
      'seed': seed + 1000,  # the next sequences, not the first
      'prefix.name': 'uniform',
      'objective.name': 'prefix_lm',
      'optimizer.warmup_steps': steps // 100,
  }
  figures = {'base': score('base', {'steps': steps, 'seed': seed})}
  for arm, rates in settings['rates'].items():
    figures[arm] = [
        score(f'{arm}-{rate:g}', further | _ARMS[arm] | _rate(rate))
        for rate in rates
    ]
  return figures


def _rate(rate):
  return {'optimizer.peak_lr': rate, 'optimizer.min_lr': rate / 10}


def _config(keys):
  """The config of Based tiny on one device, with other values of some keys."""
  default = recorded_config.flat(based_tiny.get_config().to_dict())
  common = {'mesh.data': 1, 'model.normalizer': 'output_rms'}
  return recorded_config.nested(default | common | keys)


def _scores(results, arm):
  """The scores of fresh seeds, in percent."""
  found = [results[f'run-seed{seed}'].figures[arm] for seed in _SEEDS]
  return [100 * (x or 0.0) for x in np.ravel(found)]


def _show(results):
  yield exhibit.Table(
      ('accuracy', 'learning rate'),
      {
          words: (
              statistics.mean(_scores(results, arm), method='student'),
              f'{_best(results, arm):g}' if arm in _ARMS else None,
          )
          for arm, words in _WORDS.items()
      },
      caption='Held-out tokens that end a rare pair read before: accuracy (%)',
      drawn=('accuracy',),
      unit='% of recallable tokens',
  )


def _verdict(results):
  with_prefix, causal = (_scores(results, arm) for arm in ('pla', 'la'))
  gain = statistics.paired_difference(with_prefix, causal, method='student')
  sentence = (
      'After a tenth more steps, a causal model that has learned to read a prefix'
      f' recalls {exhibit.text(gain)} points more than with the same steps causal,'
      f' over {gain.n} fresh seeds; at least {_LEAST:g} was asked for.'
  )
  if gain.estimate < _LEAST:
    return exhibit.Verdict('fails', sentence)
  return exhibit.Verdict('holds' if gain.low > _LEAST else 'open', sentence)


EXHIBIT = exhibit.Exhibit(
    title='Retrofit: a trained causal model learns to read a prefix',
    source='Ours; the student report has a JRT-RNN that was made from Based',
    claim=(
        'A tenth more steps suffice for a trained causal model to recall more by'
        ' reading its prompt in both directions.'
    ),
    plan=lambda *asked: [*_plan(*asked)],
    measure=measure,
    takes_minutes=True,
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=lambda: exhibit.AtPaperScale(
        [
            'python -m jrt_jax.train --config=configs/based_360m.py'
            ' --config.model.normalizer=output_rms --workdir=runs/based',
            'python -m jrt_jax.train --config=configs/jrt_360m.py'
            ' --config.model.normalizer=output_rms --config.init_from=runs/based'
            ' --config.init_new --config.model.pla.first_values=zero'
            ' --config.steps=6000 --workdir=runs/retrofit',
        ],
        1.1 * compute.jrt_360m_hours(),
        'Based 360M with 31.5B tokens and a tenth more, counted as JRT-RNN.',
    ),
)
