"""Table 4: ways to read a prompt that is shorter than the prefix of training.

Rule, fixed before any gold answer was scored, after a trial of the study had
answered nothing: tasks are ignored if no model has 5 % right. If no task is
left, the log-likelihood of gold answers is compared instead. For each task
there is an interval of the gain of reading twice over padding. The claim holds
if the interval is above 0 on each task, and in part if it is above 0 on some;
it fails if it is above 0 on none and below 0 on some; otherwise it is not
decided.
"""

from jrt_jax.reproduce import comparisons
from jrt_jax.reproduce import compute
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import paper
from jrt_jax.reproduce import recall_results

_BASELINE, _CLAIMED = 'left_pad', 'read_twice'
_WORDS = {
    'left_pad': 'padding that nothing sees',
    'left_pad_reference': 'padding that keeps a weight, as published',
    'read_twice': 'repeated until it fills the prefix',
    'iterate': 'read anew after every few tokens',
}


def _measures(results):
  """Scores by measure, row and strategy, for the models with a prefix."""
  return comparisons.by_measure(
      results,
      lambda x: x.prompt == 'default' and x.settings.get('short_prompt'),
      column=lambda x: x.settings['short_prompt'],
  )


def _show(results):
  for measure, scores in _measures(results).items():
    known = [name for name in _WORDS if name in comparisons.columns(scores)]
    yield exhibit.Table(
        [_WORDS[name] for name in known],
        comparisons.values(scores, known),
        caption='By how the prompt is read:'
        f' {comparisons.MEASURES[measure][0]}',
        digits=comparisons.digits(measure),
    )
    yield comparisons.gain_table(
        scores,
        measure,
        {name: _WORDS[name] for name in known if name != _BASELINE},
        _BASELINE,
        f'Gain over {_WORDS[_BASELINE]}',
    )
  yield exhibit.Table(
      [*paper.TABLE_4],
      {
          _WORDS[name]: [
              ' / '.join(f'{x:.1f}' for x in of_size[name])
              for of_size in paper.TABLE_4.values()
          ]
          for name in paper.TABLE_4['360M']
      },
      caption='Published, 512 of 1,024 tokens: FDA / SWDE / NQ, %',
  )


def _verdict(results):
  policies = {
      x.settings.get('prefix') for x in recall_results.asked(results)
  } - {None, 'none'}
  return comparisons.verdict(
      _measures(results),
      _CLAIMED,
      _BASELINE,
      'Gain of repeating a short prompt until it fills the prefix over padding,'
      ' for models that were trained with the prefix policy'
      f' {" or ".join(sorted(policies))}',
  )


EXHIBIT = exhibit.Exhibit(
    title='Prompts shorter than the prefix',
    source='Arora et al. 2024, Table 4',
    claim=(
        'A model that was trained with prefixes of one length recalls more from'
        ' shorter prompts if they are read twice than if they are padded: 82.0'
        ' against 61.9 % on FDA at 360M; reading anew as it writes is between.'
    ),
    plan=lambda request, results: recall_results.jobs(request),
    measure=recall_results.measure,
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=lambda: exhibit.AtPaperScale(
        [
            'python -m jrt_jax.recall --workdir=runs/jrt_360m'
            ' --tasks=fda,swde,nq'
            ' --data=rows --prompts=default --context_tokens=462'
            f' --short_prompt={name} --out=runs/short/{name}'
            for name in _WORDS
        ]
        + ['python -m jrt_jax.reproduce short_prompts --results=runs/short'],
        compute.jrt_360m_hours(),
        'JRT-RNN 360M with 31.5B tokens; the questions take minutes.',
    ),
    uses=('results',),
)
