"""Table 2: a prefix read in both directions, on real text.

Rule, fixed before any gold answer was scored, after a trial of the study had
answered nothing: tasks are ignored if no model has 5 % right. If no task is
left, the log-likelihood of gold answers is compared instead. For each task
there is an interval of the gain of JRT-RNN over Based. The claim holds if the
interval is above 0 on each task, and in part if it is above 0 on some; it fails
if it is above 0 on none and below 0 on some; otherwise it is not decided.
"""

from jrt_jax.reproduce import comparisons
from jrt_jax.reproduce import compute
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import paper
from jrt_jax.reproduce import recall_results

_OURS, _TWIN = 'JRT-RNN', 'Based'
_TASKS = tuple(task.lower() for task in paper.TASKS)


def _show(results):
  measures = comparisons.by_measure(results, comparisons.is_plain('default'))
  for measure, scores in measures.items():
    words, unit = comparisons.MEASURES[measure]
    digits = comparisons.digits(measure)
    gains = comparisons.gains(scores, _OURS, _TWIN)
    if gains and comparisons.is_above_floor(measure, scores):
      yield exhibit.Table(
          (_TWIN, _OURS, 'gain'),
          {
              row: (scores[row][_TWIN].value, scores[row][_OURS].value, gain)
              for row, gain in gains.items()
          },
          caption=f'Contexts read once: {words}; gain, {unit}',
          drawn=('gain',),
          unit=f'{unit} gained',
          marks={'no gain': 0},
          digits=digits,
      )
    kinds = comparisons.columns(scores)
    yield exhibit.Table(
        kinds,
        comparisons.values(scores, kinds),
        caption=f'All models: {words}',
        digits=digits,
    )
  yield from _of_prompts(results, measures)
  yield published()


def _of_prompts(results, defaults):
  """Yields a table for each other kind of prompt: its gain over the default."""
  asked = recall_results.asked(results)
  for prompt in dict.fromkeys(x.prompt for x in asked):
    if prompt == 'default':
      continue
    measures = comparisons.by_measure(results, comparisons.is_plain(prompt))
    for measure, scores in measures.items():
      if not comparisons.is_above_floor(measure, scores):
        continue
      kinds, default = comparisons.columns(scores), defaults.get(measure, {})
      unit = comparisons.MEASURES[measure][1]
      yield exhibit.Table(
          kinds,
          {
              row: [
                  comparisons.gain(found[k], default[row][k])
                  if k in found and k in default.get(row, {})
                  else None
                  for k in kinds
              ]
              for row, found in scores.items()
          },
          caption=f'Gain of “{prompt}” over reading once, {unit}',
          digits=comparisons.digits(measure),
      )


def published() -> exhibit.Table:
  """Returns the figures of Tables 2 and 3 by the length of documents."""
  return exhibit.Table(
      [
          f'{size}, {length:,} tokens'
          for size in paper.TABLES_2_3
          for length in paper.LENGTHS
      ],
      {
          kind: [
              ' / '.join(f'{x:.1f}' for x in cells)
              for of_size in paper.TABLES_2_3.values()
              for cells in of_size[kind]
          ]
          for kind in paper.TABLES_2_3['360M']
      },
      caption='Published: FDA / SWDE / NQ, % (Tables 2 and 3)',
  )


def _verdict(results):
  return comparisons.verdict(
      comparisons.by_measure(results, comparisons.is_plain('default')),
      _OURS,
      _TWIN,
      'Gain of JRT-RNN over Based, its causal twin with a state of the same size',
  )


def _at_paper_scale():
  names = ('jrt_360m', 'based_360m', 'attention_360m')
  commands = [
      command
      for name in names
      for command in (
          f'python -m jrt_jax.train --config=configs/{name}.py'
          f' --workdir=runs/{name}',
          f'python -m jrt_jax.recall --workdir=runs/{name} --data=rows'
          f' --tasks={",".join(_TASKS)} --out=runs/{name}/recall',
      )
  ]
  return exhibit.AtPaperScale(
      [*commands, 'python -m jrt_jax.reproduce jrt_rnn --results=runs'],
      len(names) * compute.jrt_360m_hours(),
      'Three models of 360M parameters with 31.5B tokens each; the questions,'
      ' the same for all, take minutes.',
  )


EXHIBIT = exhibit.Exhibit(
    title='JRT-RNN: the prompt read in both directions',
    source='Arora et al. 2024, Table 2',
    claim=(
        'At equal size and tokens JRT-RNN recalls 13.7 points more than Based at'
        ' 360M parameters, and 6.9 at 1.3B, and nearly what a Transformer does.'
    ),
    plan=lambda request, results: recall_results.jobs(request),
    measure=recall_results.measure,
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=_at_paper_scale,
    uses=('results',),
)
