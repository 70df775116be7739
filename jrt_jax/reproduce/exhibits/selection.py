"""The paper's mechanism, by training: who knows the question stores less.

Rule, fixed before anything was measured: softmax attention, which keeps all it has
read, must have 95 % of the answers of the largest size right, or all is void. The
claim holds if the 95 % interval, over fresh seeds, of what the prefix gains over
its causal twin at that size is above 0, at equal state and each at its own best
learning rate; it fails if the interval is below 0; else it is not decided.
"""

from jrt_jax.reproduce import arms as arms_lib
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import training

# Items, one size after the other.
_SIZES = {'cpu': (4, 8, 16), 'gpu': (4, 8, 16, 32)}
_STAGES = {'cpu': (300, 300), 'gpu': (4000, 4000, 4000)}  # steps, but the last
_STEPS = {'cpu': 1200, 'gpu': 24_000}
_BATCHES = {'cpu': 32, 'gpu': 64}
_IDS = {'cpu': 60, 'gpu': 92}
_PER_CATEGORY = 4  # items of one, all of which are asked for

_COMMON = {
    'model.feature_map.feature_dim': 3,  # a state that cannot hold all
    'data.synthetic.categories': 8,
    'data.synthetic.items_per_category': _PER_CATEGORY,
    'data.synthetic.queries': 0,  # all of them
    'data.synthetic.curriculum': 'one_by_one',
}
_RATES = (3e-3, 7e-3, 1.5e-2)
_WORDS = {
    'pla': 'prefix linear attention: items, question',
    'la': 'its causal twin: items, question',
    'question_first': 'causal: question, items',
    'twice': 'causal: items, question, both again (JRT-Prompt)',
    'attention': 'control: softmax attention, causal',
}
_ORDERS = {'question_first': 'QDQ', 'twice': 'DQDQ'}
_CONTROLS = ('question_first', 'twice', 'attention')


def _sweeps(scale):
  settings = _COMMON | {
      'steps': _STEPS[scale],
      'batch_size': _BATCHES[scale],
      'microbatch_per_device': _BATCHES[scale],
      'data.synthetic.num_ids': _IDS[scale],
      'data.synthetic.sizes': _SIZES[scale],
      'data.synthetic.stage_steps': _STAGES[scale],
      'eval_every': _STEPS[scale] // 6,
      'checkpoint_every': _STEPS[scale] // 6,
  }
  make = lambda names, num_seeds: arms_lib.sweep(
      'selective_recall',
      settings,
      {name: _arm(name, max(_SIZES[scale])) for name in names},
      rates=_RATES,
      num_seeds=num_seeds,
  )
  return make(('pla', 'la'), 5), make(_CONTROLS, 2)


def _arm(name, size):
  mixer = name if name in ('pla', 'attention') else 'la'
  order = _ORDERS.get(name, 'DQ')
  # Three tokens for an item and for the question, and the reply.
  tokens = 3 * size * order.count('D') + 3 * order.count('Q')
  return {
      'model.mixers': ('conv', mixer, 'conv', mixer),
      'data.synthetic.order': order,
      'sequence_length': tokens + 2 * _PER_CATEGORY,
  }


_ARMS = arms_lib.Arms(_WORDS, {s: _sweeps(s) for s in exhibit.SCALES})


def _largest(results):
  """The figure of the largest size, and how many items that is."""
  sizes = next(iter(results.values())).settings['overrides'][
      'data.synthetic.sizes'
  ]
  return f'{training.SCORE}_{max(sizes)}', max(sizes)


def _show(results):
  figure, size = _largest(results)
  yield _ARMS.table(
      results,
      f'{size} items, of which the question asks {_PER_CATEGORY}: values that'
      ' are right (%), at the best learning rate of each, with fresh seeds',
      figure,
  )
  yield _ARMS.curves(
      results,
      f'All sizes while they learn: {_PER_CATEGORY} items first, {size} at last',
  )


def _verdict(results):
  figure, size = _largest(results)
  gain = _ARMS.gain(results, 'pla', 'la', figure)
  at = {x: _ARMS.accuracy(results, x, figure) for x in _WORDS}
  words = (
      f'Of {size} items, models that have seen the question before they store'
      f' anything have {exhibit.text(at["pla"])} % of values right, their causal'
      f' twins {exhibit.text(at["la"])} %: {exhibit.text(gain)} points, over'
      f' {gain.n} fresh seeds. Causal ones that are asked first have'
      f' {exhibit.text(at["question_first"])} %, that read twice'
      f' {exhibit.text(at["twice"])} %, softmax attention'
      f' {exhibit.text(at["attention"])} %.'
  )
  if at['attention'].estimate < arms_lib.SOLVED:
    return exhibit.Verdict(
        'void', f'{words} Attention has not learned the task either.'
    )
  if gain.excludes():
    return exhibit.Verdict('holds' if gain.low > 0 else 'fails', words)
  return exhibit.Verdict('open', words)


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
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=lambda: exhibit.AtPaperScale(
        ['python -m jrt_jax.reproduce selection --scale=gpu'],
        None,
        'The paper has no such experiment: its mechanism is argued by set'
        ' disjointness and shown by language models.',
    ),
)
