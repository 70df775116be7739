"""Table 3: prompts longer than the prefix of training.

Rule, fixed before any gold answer was scored, after a trial of the study had
answered nothing: tasks are ignored if no model has 5 % right. If no task is
left, the log-likelihood of gold answers is compared instead. For each task
there is an interval of the gain of JRT-RNN, whose prefix is the head of the
prompt, over Based. The claim holds if the interval is above 0 on each task, and
in part if it is above 0 on some; it fails if it is above 0 on none and below 0
on some; otherwise it is not decided.
"""

from jrt_jax.reproduce import comparisons
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import recall_results
from jrt_jax.reproduce.exhibits import jrt_rnn

_TWIN = 'Based'
_WORDS = {
    'head': 'prefix: the head',
    'tail': 'prefix: the tail',
    'all': 'prefix: all of it',
    'blocks': 'block after block, each a prefix',
}


def _measures(results):
  """Scores by measure and row: of JRT-RNN by strategy, and of causal models."""
  return comparisons.by_measure(
      results,
      lambda x: x.prompt == 'default' and x.settings.get('long_prompt'),
      column=lambda x: x.settings['long_prompt']
      if 'pla' in x.run.get('mixers', ())
      else comparisons.kind(x),
  )


def _show(results):
  for measure, scores in _measures(results).items():
    names = comparisons.columns(scores)
    yield exhibit.Table(
        [_WORDS.get(name, name) for name in names],
        comparisons.values(scores, names),
        caption=f'By the part that is prefix: {comparisons.MEASURES[measure][0]}',
        digits=comparisons.digits(measure),
    )
    yield comparisons.gain_table(
        scores,
        measure,
        {name: _WORDS[name] for name in names if name in _WORDS},
        _TWIN,
        'Gain of JRT-RNN over Based',
    )
  yield jrt_rnn.published()


def _verdict(results):
  return comparisons.verdict(
      _measures(results),
      'head',
      _TWIN,
      'Gain of JRT-RNN over Based if only the head of the prompt is its prefix',
  )


EXHIBIT = exhibit.Exhibit(
    title='Prompts longer than the prefix',
    source='Arora et al. 2024, Table 3',
    claim=(
        'Where only half of a document fits into the prefix, JRT-RNN still recalls'
        ' more than Based: 28.4 against 19.1 % on FDA at 360M, 55.2 against'
        ' 36.1 % at 1.3B; both fall behind the Transformer.'
    ),
    plan=lambda request, results: recall_results.jobs(request),
    measure=recall_results.measure,
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=lambda: exhibit.AtPaperScale(
        [
            'python -m jrt_jax.recall --workdir=runs/jrt_360m'
            ' --tasks=fda,swde,nq'
            ' --data=rows --prompts=default --context_tokens=1998'
            f' --long_prompt={name} --out=runs/long/{name}'
            for name in _WORDS
        ]
        + ['python -m jrt_jax.reproduce beyond_prefix --results=runs/long'],
        None,
        'The models of Table 2; Based is asked with --long_prompt=head, too. The'
        ' questions take minutes.',
    ),
    uses=('results',),
)
