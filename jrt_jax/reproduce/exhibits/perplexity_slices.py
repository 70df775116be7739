"""Figure 3: which next tokens a prefix makes easier to predict.

Rule, fixed before anything was measured: for each seed there is an interval of
the loss of JRT-RNN minus that of Based on recall hits. The claim holds if it is
below 0 for all seeds, and in part if it is below 0 for some; it fails if it is
below 0 for none and above 0 for some; otherwise it is not decided.
"""

import math

from jrt_jax import foreign
from jrt_jax import schema
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import measured
from jrt_jax.reproduce import training_results

_FILE = 'perplexity.json'
_OURS, _TWIN = 'JRT-RNN', 'Based'
_HITS = 'recall hits'
_RESULT = schema.Fields(
    {
        'runs': schema.Fields({}, others=foreign.OBJECT),
        'slices': schema.ListOf(foreign.OBJECT, 1, 10_000),
    },
    others=schema.Anything(),
)


def _plan(request, results):
  del results
  losses = measured.jobs(request, _FILE, 'python -m jrt_jax.perplexity')
  if len(losses) > 1:
    raise ValueError(
        f'--results must have one {_FILE}, of all models, got {len(losses)}'
    )
  return losses + training_results.jobs(request)


def _measure(settings, workdir):
  del workdir
  if training_results.is_one(settings):
    return training_results.measure(settings)
  found = foreign.read_json(settings['file'], _RESULT)
  about = ('hardware', 'versions', 'commit', 'date', 'command')
  return {**found, 'provenance': {x: found[x] for x in about if x in found}}


def _losses(results):
  """The figures of the only job with slices."""
  return next(x.figures for x in results.values() if 'slices' in x.figures)


def _names(figures, kind):
  """The runs of a kind, by seed."""
  return {
      run.get('seed'): name
      for name, run in figures['runs'].items()
      if measured.kind(run.get('mixers', ()), name) == kind
  }


def _pairs(figures):
  """Pairs (JRT-RNN, Based) with equal seeds."""
  ours, twins = (_names(figures, kind) for kind in (_OURS, _TWIN))
  return [(ours[seed], twins[seed]) for seed in ours if seed in twins]


def _show(results):
  figures = _losses(results)
  rows = [x for x in figures['slices'] if x['family'] in ('part', 'recall')]
  runs = [*figures['runs']]
  yield exhibit.Table(
      runs,
      {
          f'{x["kind"]} ({x["tokens"]:,} tokens)': [
              _estimate(x['loss'].get(run)) for run in runs
          ]
          for x in rows
      },
      caption='Held-out loss, nats per token; intervals over windows',
      digits=3,
  )
  pairs = _pairs(figures)
  yield exhibit.Table(
      [f'{a} − {b}' for a, b in pairs],
      {
          x['kind']: [_difference(x, *pair) for pair in pairs]
          for x in rows
          if any(_difference(x, *pair) for pair in pairs)
      },
      caption='Effect of a prefix, nats per token: lower is better',
      drawn=[f'{a} − {b}' for a, b in pairs],
      unit='nats per token',
      marks={'no change': 0},
      digits=3,
  )
  for family, x in (
      ('count', 'times that the pair occurs in the training text'),
      ('distance', 'tokens back to where the pair was read'),
  ):
    yield from _lines(figures, family, x)
  yield from _training(results)


def _lines(figures, family, x):
  """Yields the losses of repeated pairs, for the first run of each kind."""
  rows = [
      s
      for s in figures['slices']
      if s['family'] == family and s['kind'] != 'not repeated' and s['low']
  ]
  if not rows:
    return
  last = rows[-1]['kind']
  found = [_names(figures, kind) for kind in measured.KINDS.values()]
  yield exhibit.Lines(
      {
          name: [
              (_middle(s), _estimate(s['loss'][name]))
              for s in rows
              if s['kind'] == last and s['loss'][name]['low'] is not None
          ]
          for names in found
          for name in [*names.values()][:1]
      },
      x=x,
      y='nats per token',
      caption=f'Loss of tokens that end a repeated pair: {last}',
      log_x=True,
  )


def _training(results):
  """The curves of whole runs, and the learning rates of trials."""
  whole, trials = training_results.whole_and_trials(
      training_results.runs(results)
  )
  if not whole:
    return
  steps = f'{whole[0].steps:,} steps'
  yield exhibit.Lines(
      {f'{run.kind}, seed {run.seed}': run.curve for run in whole},
      x='tokens of training',
      y='bits per byte',
      caption='Held-out loss during training (all next tokens, no prefix):'
      f' runs of {steps}, the whole runs',
  )
  if not trials:
    return
  rates = sorted({run.peak_lr for run in trials})
  rows = {}
  for run in trials:
    row = f'{run.kind}, {run.steps:,} steps, seed {run.seed}'
    rows.setdefault(row, {})[run.peak_lr] = run.last
  yield exhibit.Table(
      [f'{rate:g}' for rate in rates],
      {row: [found.get(rate) for rate in rates] for row, found in rows.items()},
      caption='Bits per byte of trials, by their learning rate; a trial is each'
      f' run of fewer than {steps}',
      digits=3,
  )


def _verdict(results):
  figures = _losses(results)
  hits = [x for x in figures['slices'] if x['kind'] == _HITS]
  hits = next((x for x in hits if x['family'] == 'recall'), None)
  pairs = _pairs(figures)
  if not (hits and pairs):
    return exhibit.Verdict(
        'void', 'There are no recall hits, or no two models.'
    )
  changes = {pair: _difference(hits, *pair) for pair in pairs}
  words = '; '.join(
      f'{a} − {b}: {exhibit.text(x, 3)}' for (a, b), x in changes.items()
  )
  words = (
      f'Effect of a prefix on the loss of recall hits, nats per token: {words}.'
  )
  better = [x for x in changes.values() if x.high < 0]
  worse = [x for x in changes.values() if x.low > 0]
  if better:
    whole = len(better) == len(changes)
    return exhibit.Verdict('holds' if whole else 'partly', words)
  return exhibit.Verdict('fails' if worse else 'open', words)


def _difference(row, a, b):
  """The loss of a minus that of b, whichever comes first in the file."""
  for x in row['differences']:
    if (x['first'], x['second']) == (a, b):
      return _estimate(x)
    if (x['first'], x['second']) == (b, a):
      found = _estimate(x)
      low, high = -found.high, -found.low
      return found._replace(estimate=-found.estimate, low=low, high=high)
  return None


def _middle(row):
  return math.sqrt(row['low'] * max(row['high'], 1))


def _estimate(found):
  return None if found is None else measured.estimate(found)


EXHIBIT = exhibit.Exhibit(
    title='Which tokens a prefix makes easier to predict',
    source='Arora et al. 2024, Figure 3 (curves without a table)',
    claim=(
        'JRT-RNN predicts tokens better that end a rare pair which was read'
        ' before, most of all in the prefix, and others slightly worse.'
    ),
    plan=_plan,
    measure=_measure,
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=lambda: exhibit.AtPaperScale(
        [
            'python -m jrt_jax.perplexity --workdir=runs/jrt_360m,runs/based_360m'
            ' --out=runs/perplexity.json',
            'python -m jrt_jax.reproduce perplexity_slices --results=runs',
        ],
        None,
        'The models of Table 2; reading takes minutes.',
    ),
    uses=('results',),
)
