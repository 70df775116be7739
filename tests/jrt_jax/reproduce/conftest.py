"""An exhibit whose jobs take no time, and what it has been asked."""

import pytest

from jrt_jax.evaluation import statistics
from jrt_jax.reporting import provenance
from jrt_jax.reproduce import exhibit


class Fake:
  """An exhibit that squares numbers.

  Attributes:
    squares: the numbers of its jobs.
    measured: those that were measured, in turn.
    trouble: what measuring a number raises, by the number.
  """

  def __init__(self):
    self.squares, self.measured, self.trouble = [1, 2, 3], [], {}

  def exhibit(self):
    return exhibit.Exhibit(
        title='Squares <of numbers>',
        source='Euclid',
        claim='They are positive.',
        plan=lambda request, results: [
            exhibit.Job(f'n{n}', {'n': n, 'pair': (n, n)}) for n in self.squares
        ],
        measure=self._measure,
        show=self._show,
        verdict=lambda results: exhibit.Verdict('holds', 'So they are.'),
        at_paper_scale=lambda: exhibit.AtPaperScale(
            ['abacus'], 1234.0, 'Slow.'
        ),
    )

  def _measure(self, settings, workdir):
    self.measured.append(settings['n'])
    (workdir / 'half').write_text('done')
    if settings['n'] in self.trouble:
      raise self.trouble[settings['n']]
    return {'square': settings['n'] ** 2, 'root': float('nan')}

  def _show(self, results):
    squares = [done.figures['square'] for done in results.values()]
    return [
        exhibit.Table(
            ('published', 'ours'),
            {'squares': (4.0, statistics.mean(squares)), 'cubes': (None, None)},
            drawn=('published', 'ours'),
            marks={'chance': 0.5},
        ),
        exhibit.Lines(
            {'ours': [(n, float(x)) for n, x in enumerate(squares, 1)]},
            x='n',
            y='n²',
            log_x=True,
        ),
    ]


@pytest.fixture
def fake():
  return Fake()


@pytest.fixture
def complete():
  """A function that makes results of an exhibit from the settings of each job."""

  def complete(found, figures, scale='cpu'):
    results = {}
    while True:
      jobs = found.plan(exhibit.Request(scale), results)
      if not (left := [job for job in jobs if job.name not in results]):
        return results
      for job in left:
        settings = provenance.plain(job.settings)
        results[job.name] = exhibit.Done(settings, figures(settings))

  return complete


@pytest.fixture
def trained(complete):
  """A function that makes results of an exhibit whose jobs would train.

  `accuracy` maps the settings of a job to a share of answers; a figure of the
  largest size is the same.
  """

  def trained(found, accuracy, scale='cpu', **others):

    def figures(settings):
      share = accuracy(settings)
      sizes = settings['overrides']['data.synthetic.sizes']
      return {
          **{f'answer_accuracy_{size}': share for size in sizes},
          'answer_accuracy': share,
          'answer_loss': None if share is None else 1.0,
          'curve': [[1, 0.1], *([] if share is None else [[2, share]])],
          'parameters': 1000,
          'state_bytes': 64,
          'seconds': 3.0,
          **others,
      }

    return complete(found, figures, scale)

  return trained
