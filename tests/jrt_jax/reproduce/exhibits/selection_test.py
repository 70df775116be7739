import pytest

from jrt_jax.reproduce import charts
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce.exhibits import selection

EXHIBIT = selection.EXHIBIT


def shares(pla, la, attention=1.0, spread=0.01):
  """A function to accuracies, which differ a little between seeds."""

  def share(settings):
    mixer = settings['overrides']['model.mixers'][1]
    mean = {'pla': pla, 'la': la, 'attention': attention}[mixer]
    return mean + spread * (settings['seed'] % 2 - 0.5) * (mixer == 'pla')

  return share


@pytest.mark.parametrize(
    'pla, la, attention, unnamed, word',
    [
        (0.8, 0.5, 1.0, 0.2, 'holds'),
        (0.8, 0.5, 1.0, 0.8, 'partly'),  # it knows what it was not to store
        (0.5, 0.8, 1.0, 0.2, 'fails'),
        (0.5, 0.5, 1.0, 0.2, 'open'),
        (0.8, 0.5, 0.94, 0.2, 'void'),
    ],
)
def test_the_verdict_is_of_seeds_and_void_without_attention(
    trained, pla, la, attention, unnamed, word
):
  share = shares(pla, la, attention)
  results = trained(EXHIBIT, share, unnamed_accuracy=unnamed)
  verdict = EXHIBIT.verdict(results)
  assert verdict.word == word
  assert '5 fresh seeds' in verdict.sentence


def test_all_arms_are_shown_with_their_rates(trained):
  results = trained(EXHIBIT, shares(0.8, 0.5), unnamed_accuracy=0.2)
  table, named, curves = EXHIBIT.show(results)
  row = table.rows['prefix linear attention: items, question']
  assert row[0].estimate == pytest.approx(80.1) and row[0].n == 5
  assert row[1] == '0.003 (edge)'  # all rates alike: the first
  # Who remembers which eight values the category has, but not of which keys.
  assert table.marks == {'chance': pytest.approx(100 / 8)}
  assert len(table.rows) == len(named.rows) == len(curves.series) == 5
  row = named.rows['prefix linear attention: items, question']
  assert row[2].estimate == pytest.approx(60.1)
  for piece in (table, named, curves):
    charts.check(piece)


def test_twins_differ_in_the_mixer_alone():
  jobs = EXHIBIT.plan(exhibit.Request('gpu'), {})
  first = {
      job.settings['overrides']['model.mixers'][1]: job.settings['overrides']
      for job in jobs
      if job.settings['overrides']['data.synthetic.order'] == 'DQ'
  }
  assert {*first} == {'pla', 'la', 'attention'}
  same = [{**x, 'model.mixers': None} for x in first.values()]
  assert same[0] == same[1] == same[2]


def test_a_run_that_has_diverged_has_nothing_right(trained):
  share = shares(0.8, 0.5)
  fails = lambda s: None if s['seed'] == 22 else share(s)
  results = trained(EXHIBIT, fails, unnamed_accuracy=0.2)
  table, *_ = EXHIBIT.show(results)
  assert [*table.rows.values()][1][0].estimate == pytest.approx(40)
