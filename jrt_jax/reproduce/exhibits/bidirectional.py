"""Open question 3: answers that come later than the place that asks for them.

Rule, fixed before anything was measured: the result is void unless the causal
models are at chance, because otherwise the task leaks. The claim holds if the
interval of the gain of the prefix is above 0 and 95 % of its answers are right;
it holds in part if only the interval is above 0; it is not decided if the
interval includes 0.
"""

from jrt_jax.reproduce import arms as arms_lib
from jrt_jax.reproduce import compute
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import training

_LEAK = 3.0  # a causal model may be this many points above chance, by accident

_SETTINGS = {
    'cpu': {
        'steps': 600,
        'batch_size': 32,
        'microbatch_per_device': 32,
        'sequence_length': 28,
        'data.synthetic.sizes': (4, 8),
        'data.synthetic.num_ids': 24,
        'eval_every': 100,
        'checkpoint_every': 300,
    },
    'gpu': {
        'steps': 10_000,
        'sequence_length': 100,
        'data.synthetic.sizes': (8, 16, 32),
        'data.synthetic.num_ids': 132,
        'eval_every': 1000,
        'checkpoint_every': 1000,
    },
}
_COMMON = {'model.feature_map.feature_dim': 4}
_RATES = (3e-3, 7e-3, 1.5e-2)

_ARMS = arms_lib.Arms(
    {
        'pla': 'prefix linear attention',
        'la': 'causal twin: linear attention, equal state',
        'attention': 'control: softmax attention, causal',
    },
    {
        scale: arms_lib.twins('forward_reference', _COMMON | settings, _RATES)
        for scale, settings in _SETTINGS.items()
    },
)


def _show(results):
  yield _ARMS.table(
      results,
      'Attributes that come after the names: accuracy (%) at the names, for the'
      ' best learning rate of each model and fresh seeds',
  )
  yield _ARMS.curves(results, 'The same during training')


def _verdict(results):
  chance = _ARMS.chance(results)
  causal = {x: _ARMS.accuracy(results, x) for x in ('la', 'attention')}
  gain = _ARMS.gain(results, 'pla', 'la')
  right = _ARMS.accuracy(results, 'pla')
  words = (
      f'With the names and what follows as prefix, {exhibit.text(right)} % of'
      f' answers are right, {exhibit.text(gain)} points more than with its causal'
      f' twin (guessing: {chance:.1f} %). Causal softmax attention has'
      f' {exhibit.text(causal["attention"])} %: no causal state can hold what'
      ' comes later.'
  )
  if any(x.estimate > chance + _LEAK for x in causal.values()):
    return exhibit.Verdict('void', f'{words} A causal model is above chance.')
  if gain.low > 0:
    solved = right.estimate >= arms_lib.SOLVED
    return exhibit.Verdict('holds' if solved else 'partly', words)
  return exhibit.Verdict('fails' if gain.high < 0 else 'open', words)


EXHIBIT = exhibit.Exhibit(
    title='Both directions: names that the text explains later',
    source='Structured review of the paper, open question 3',
    claim=(
        'A prefix that is read in both directions helps where a token must be'
        ' understood by what follows it, as in coreference; not tested in the'
        ' paper.'
    ),
    plan=_ARMS.plan,
    measure=training.train,
    takes_minutes=True,
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=lambda: exhibit.AtPaperScale(
        [
            'python -m jrt_jax.train --config=configs/jrt_360m.py'
            ' --workdir=runs/jrt_360m',
            'python -m jrt_jax.recall --workdir=runs/jrt_360m'
            ' --tasks=superglue_wsc',
        ],
        2 * compute.jrt_360m_hours(),
        'JRT-RNN 360M and its causal twin, with 31.5B tokens each.',
    ),
)
