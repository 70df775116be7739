"""Figure 2 without training: what must a state hold?"""

from jrt_jax.evaluation import statistics
from jrt_jax.evaluation.synthetic import set_disjointness
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import from_probe

_SEEDS = from_probe.Seeds(set_disjointness.PROBE)
_WIDTHS = (64, 128, 512)
_ORDERS = ('(4, 256)', '(256, 4)')
_KINDS = ('causal', 'non-causal')


def _show(results):
  values = _SEEDS.values(results)
  yield exhibit.Lines(
      {
          f'{kind}, {"smaller" if order == _ORDERS[0] else "larger"} first': [
              (D, from_probe.percentage(values[f'{kind}, D = {D}', order]))
              for D in _WIDTHS
          ]
          for kind in _KINDS
          for order in _ORDERS
      },
      x='sums in the state, D',
      y='%',
      caption=(
          'How often the shared element of a set of 4 and one of 256 is found'
      ),
      marks={'chance': 25},
      log_x=True,
  )
  columns = ('(4, 64)', '(16, 64)', '(64, 64)', '(256, 64)', '(64, 256)')
  yield exhibit.Table(
      columns,
      _SEEDS.cells(
          results, [f'smallest D, {kind}' for kind in _KINDS], columns
      ),
      caption='The smallest state that is right in 9 of 10 cases, by (|A|, |B|)',
      digits=0,
  )
  columns = ('(4, 64)', '(64, 4)', '(4, 256)', '(256, 4)', '(16, 256)')
  rows = _SEEDS.cells(
      results, [f'elements kept, read {n}' for n in ('once', 'twice')], columns
  )
  yield exhibit.Table(
      columns,
      {row: [x.estimate for x in cells] for row, cells in rows.items()},
      caption='Elements that an exact program keeps, by (|A|, |B|)',
      digits=0,
  )


def _verdict(results):
  values = _SEEDS.values(results)
  gap = {
      kind: statistics.mean(
          100
          * (
              values[f'{kind}, D = 64', _ORDERS[0]]
              - values[f'{kind}, D = 64', _ORDERS[1]]
          )
      )
      for kind in _KINDS
  }
  causal, both = gap.values()
  words = (
      'With 64 sums in the state, reading once is right more often by'
      f' {exhibit.text(causal, 0)} points'
      ' if the smaller set comes first. If both sets are seen before one is'
      f' stored, the difference is {exhibit.text(both, 0)} points.'
      ' These are states of random features; trained models can differ.'
  )
  if broken := _SEEDS.broken(results):
    return exhibit.Verdict('void', f'{words} But {"; ".join(broken)}.')
  holds = causal.low > 0 and causal.low > both.high
  return exhibit.Verdict('partly' if holds else 'fails', words)


EXHIBIT = exhibit.Exhibit(
    title='Set disjointness: the order of two sets decides what a state must keep',
    source='Arora et al. 2024, Figure 2 (curves without a table) and section 3',
    claim=(
        'A causal recurrent model does better when the smaller of two sets comes'
        ' first, most of all with small states; a non-causal one hardly depends'
        ' on the order.'
    ),
    plan=_SEEDS.plan,
    measure=_SEEDS.measure,
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=lambda: exhibit.AtPaperScale(
        [],
        None,
        'The paper trains 4-layer models on 240,000 examples for 48 epochs, for'
        ' each of 20 state sizes, 3 learning rates and 2 seeds; how long that'
        ' took is not published.',
    ),
)
