"""Table 1: the gain of prompts that show their context twice.

The published cells are analysed again, because they say more than the published
mean. Results of `python -m jrt_jax.recall` are shown beside them.
"""

import numpy as np

from jrt_jax.evaluation import statistics
from jrt_jax.reproduce import compute
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import paper
from jrt_jax.reproduce import recall_results

_TASKS = tuple(task.lower() for task in paper.TASKS)


def _plan(request, results):
  del results
  cells = [
      [row.model, row.size, *row.default, *row.twice] for row in paper.TABLE_1
  ]
  published = exhibit.Job('published', {'table': 1, 'cells': cells})
  return [published, *recall_results.jobs(request)]


def _measure(settings, workdir):
  if 'file' in settings:
    return recall_results.measure(settings, workdir)
  cells = np.array([row[2:] for row in settings['cells']], float)
  default, twice = np.split(cells, 2, axis=1)
  return {
      'default': default.mean(axis=0),
      'twice': twice.mean(axis=0),
      'gains': twice - default,
  }


def _show(results):
  figures = results['published'].figures
  gains = np.array(figures['gains'])
  published = [_by_task(figures, gains), _headline(gains)]
  deciding, others = _measured(results)
  measured = {
      'Measured here: accuracy (%), and gain over pairs': deciding,
      'Other tasks, which are not in this table and do not affect the verdict': others,
  }
  tables = [
      _table(recall_results.table(gains, 'twice'), caption)
      for caption, gains in measured.items()
      if gains
  ]
  return [*tables, *published]


def _measured(results):
  """Gains on the tasks of the claim, and gains on other tasks."""
  deciding, others = [], []
  for x in recall_results.gains(results, 'twice'):
    of_table = x.task in _TASKS and x.metric == 'contains'
    (deciding if of_table else others).append(x)
  return deciding, others


def _table(rows, caption):
  return exhibit.Table(
      ('read once', 'read twice', 'gain'),
      rows,
      caption=caption,
      drawn=('gain',),
      unit='points gained',
      marks={'no gain': 0},
  )


def _by_task(figures, gains):
  columns = figures['default'], figures['twice'], gains.T
  rows = {
      task: (before, after, _over_models(gain))
      for task, before, after, gain in zip(paper.TASKS, *columns)
  }
  means = np.mean(figures['default']), np.mean(figures['twice'])
  rows['all six'] = (*means, statistics.crossed(gains))
  return _table(rows, 'Published accuracy (%), mean of 16 models, and gain')


def _headline(gains):
  whole = statistics.crossed(gains)
  recurrent = statistics.crossed(
      gains[[row.is_recurrent for row in paper.TABLE_1]]
  )
  means = gains.mean(axis=1)
  sd = whole.sd_over_models
  return exhibit.Table(
      ('published', 'from its cells'),
      {
          'mean gain of 16 models, 6 tasks': ('11.0', whole.estimate),
          'the ±: standard deviation of the models’ means': ('1.3', sd),
          'standard error over models': (None, sd / len(means) ** 0.5),
          'mean, other models on these six tasks': (None, _over_models(means)),
          'mean, other models on other tasks': (None, whole),
          'the 14 recurrent models alone': (None, recurrent),
          'their standard deviation': (None, recurrent.sd_over_models),
          'cells that lose': (None, f'{whole.negative} of {whole.n}'),
      },
      caption='The published mean gain and its uncertainty, points',
      digits=2,
  )


def _over_models(values):
  return statistics.mean(values, method='student')


def _verdict(results):
  measured, _ = _measured(results)
  decided = [x.gain.estimate > 0 for x in measured if x.gain.excludes(0)]
  gained, lost = decided.count(True), decided.count(False)
  word, here = 'recomputed', 'No model was measured here on the six tasks.'
  if measured:
    word = 'holds' if gained == len(measured) else 'partly'
    if not gained:
      word = 'fails' if lost else 'open'
    here = (
        f'Of {len(measured)} pairs of a model and one of the six tasks measured'
        f' here, {gained} gain, {lost} lose, and the others are not decided.'
    )
  found = statistics.crossed(results['published'].figures['gains'])
  return exhibit.Verdict(
      word,
      f'The cells give {found.estimate:.1f} points. The published ± 1.3 is the'
      ' standard deviation of the 16 models, not the uncertainty of the mean. For'
      f' other models and other tasks the mean lies between {found.low:.1f} and'
      f' {found.high:.1f}, because tasks differ far more than models do, and'
      f' {found.negative} of {found.n} cells lose. Two of the 16 models are not'
      f' recurrent. {here}',
  )


def _at_paper_scale():
  hours = sum(
      compute.reading_hours(row.parameters, 3 * paper.ROWS_READ * 950)
      for row in paper.TABLE_1
  )
  return exhibit.AtPaperScale(
      [
          'python -m jrt_jax.recall --model=hf:state-spaces/mamba-1.4b-hf'
          f' --tasks={",".join(_TASKS)} --prompts=default,twice'
          ' --out=recall/mamba-1.4b'
      ],
      hours,
      f'16 released models read {paper.ROWS_READ:,} rows of six tasks, of 950'
      ' tokens at most, once and twice; a command for each. Their weights and'
      ' the rows of SWDE must be fetched.',
  )


EXHIBIT = exhibit.Exhibit(
    title='JRT-Prompt: the context read twice',
    source='Arora et al. 2024, Table 1',
    claim=(
        'Reading the context twice raises recall by 11.0 ± 1.3 points, averaged'
        ' over 16 recurrent language models and 6 tasks.'
    ),
    plan=_plan,
    measure=_measure,
    show=_show,
    verdict=_verdict,
    at_paper_scale=_at_paper_scale,
    uses=('results',),
)
