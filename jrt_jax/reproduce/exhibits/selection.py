"""The paper's mechanism, by training: who knows the question stores less.

Rule, fixed before anything was measured: softmax attention, which keeps all it has
read, must have 95 % of the answers of the largest size right, or all is void. The
claim is that of a gain: the 95 % interval, over fresh seeds, of what the prefix has
right more than its causal twin at that size is above 0, at equal state and each at
its own best learning rate; and that the gain is one of selection: the model is
right less often, over the same seeds, where it is asked for what the question has
not named. It holds if both are so, and in part if the gain alone is; it fails if
the interval of the gain is below 0; else it is not decided.
"""

from jrt_jax.evaluation import statistics
from jrt_jax.reproduce import arms as arms_lib
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import training
from jrt_jax.training import answers

# Pairs, one size after the other.
_SIZES = {'cpu': (4, 8, 16), 'gpu': (4, 8, 16, 32)}
_STAGES = {'cpu': (400, 400), 'gpu': (4000, 4000, 4000)}  # steps, but the last
_STEPS = {'cpu': 1500, 'gpu': 24_000}
_NAMED = 4  # keys in the question, all of which are asked for

_COMMON = {
    # A state of 6 products for each dimension of a value.
    'model.feature_map.name': 'symmetric_power',
    'model.feature_map.feature_dim': 3,
    'data.synthetic.queries': _NAMED,
    'data.synthetic.curriculum': 'one_by_one',
}
_RATES = (5e-3, 1e-2, 2e-2)
_WORDS = {
    'pla': 'prefix linear attention: pairs, question',
    'la': 'its causal twin: pairs, question',
    'question_first': 'causal: question, pairs',
    'twice': 'causal: pairs, question, both again (JRT-Prompt)',
    'attention': 'control: softmax attention, causal',
}
_ORDERS = {'question_first': 'QDQ', 'twice': 'DQDQ'}
_CONTROLS = ('question_first', 'twice', 'attention')


def _sweeps(scale):
  largest = max(_SIZES[scale])
  settings = _COMMON | {
      'steps': _STEPS[scale],
      # As many keys, and as many values, as there are pairs at last.
      'data.synthetic.num_ids': 4 + 2 * largest,
      'data.synthetic.sizes': _SIZES[scale],
      'data.synthetic.stage_steps': _STAGES[scale],
      'eval_every': _STEPS[scale] // 6,
      'checkpoint_every': _STEPS[scale] // 6,
  }
  make = lambda names, num_seeds: arms_lib.sweep(
      'needle',
      settings,
      {name: _arm(name, largest) for name in names},
      rates=_RATES,
      num_seeds=num_seeds,
  )
  return make(('pla', 'la'), 5), make(_CONTROLS, 2)


def _arm(name, size):
  mixer = name if name in ('pla', 'attention') else 'la'
  order = _ORDERS.get(name, 'DQ')
  question = _NAMED + 2
  tokens = 2 * size * order.count('D') + question * order.count('Q')
  return {
      'model.mixers': ('conv', mixer, 'conv', mixer),
      'data.synthetic.order': order,
      'sequence_length': tokens + 2 * _NAMED,
  }


_ARMS = arms_lib.Arms(_WORDS, {s: _sweeps(s) for s in exhibit.SCALES})


def _largest(results):
  """The figure of the largest size, and how many pairs that is."""
  sizes = next(iter(results.values())).settings['overrides'][
      'data.synthetic.sizes'
  ]
  return f'{training.SCORE}_{max(sizes)}', max(sizes)


def _less_unnamed(results, arm):
  """What more is right of named keys than of others, in points."""
  named, others = (
      _ARMS.accuracies(results, arm, figure)
      for figure in (_largest(results)[0], answers.UNNAMED)
  )
  return statistics.paired_difference(named, others, method='student')


def _show(results):
  figure, size = _largest(results)
  yield _ARMS.table(
      results,
      f'{size} pairs, of which the question names {_NAMED}: their values that are'
      ' right (%), at the best learning rate of each, with fresh seeds',
      figure,
  )
  yield exhibit.Table(
      ('named by the question', 'not named', 'difference'),
      {
          words: (
              _ARMS.accuracy(results, arm, figure),
              _ARMS.accuracy(results, arm, answers.UNNAMED),
              _less_unnamed(results, arm),
          )
          for arm, words in _WORDS.items()
      },
      caption=f'Of {size} pairs, what is right of those that the question has named'
      ' and, asked by surprise, of others (%): who selects does not know these',
      drawn=('difference',),
      unit='points',
      marks={'stores all': 0},
  )
  yield _ARMS.curves(
      results,
      f'All sizes while they learn: {_NAMED} pairs first, {size} at last',
  )


def _verdict(results):
  figure, size = _largest(results)
  gain = _ARMS.gain(results, 'pla', 'la', figure)
  selected = _less_unnamed(results, 'pla')
  at = {x: _ARMS.accuracy(results, x, figure) for x in _WORDS}
  words = (
      f'Of {size} pairs, models that have seen the question before they store'
      f' anything have {exhibit.text(at["pla"])} % of values right, their causal'
      f' twins {exhibit.text(at["la"])} %: {exhibit.text(gain)} points, over'
      f' {gain.n} fresh seeds. Of what the question has named they know'
      f' {exhibit.text(selected)} points more than of other pairs. Causal ones that'
      f' are asked first have {exhibit.text(at["question_first"])} %, that read'
      f' twice {exhibit.text(at["twice"])} %, softmax attention'
      f' {exhibit.text(at["attention"])} %.'
  )
  if at['attention'].estimate < arms_lib.SOLVED:
    return exhibit.Verdict(
        'void', f'{words} Attention has not learned the task either.'
    )
  if gain.low > 0 and selected.low > 0:
    return exhibit.Verdict('holds', words)
  if gain.low > 0:
    return exhibit.Verdict(
        'partly', f'{words} They gain, but not by selecting: they store all.'
    )
  return exhibit.Verdict('fails' if gain.high < 0 else 'open', words)


EXHIBIT = exhibit.Exhibit(
    title='Selection: a model that knows the question keeps less',
    source='Arora et al. 2024, section 3',
    claim=(
        'A recurrent model with a state too small for all it reads recalls more'
        ' if it has seen the question first, as a prefix that is read in both'
        ' directions lets it.'
    ),
    plan=_ARMS.plan,
    measure=training.train,
    takes_minutes=True,
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=lambda: exhibit.AtPaperScale(
        ['python -m jrt_jax.reproduce selection --scale=gpu'],
        None,
        'The paper has no such experiment: its mechanism is argued by set'
        ' disjointness and shown by language models.',
    ),
)
