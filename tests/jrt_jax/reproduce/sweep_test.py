import pytest

from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import sweep

SWEEP = sweep.Sweep(
    arms={'jrt': {'mixer': 'pla'}, 'causal': {'mixer': 'la'}},
    rates=(1e-3, 1e-2, 1e-1),
    trials=(0, 1),
    seeds=(10, 11, 12),
    common={'steps': 5},
)
# Of a trial, by its learning rate; None: it has diverged.
SCORES = {'pla': {1e-3: 0.2, 1e-2: 0.6, 1e-1: None}, 'la': {1e-3: 0.4}}


def measured(jobs):
  """The results of jobs; the score of a fresh run is its seed."""
  results = {}
  for job in jobs:
    s = job.settings
    score = SCORES[s['mixer']].get(s['learning_rate'], 0.1)
    fresh = s['seed'] >= 10
    figures = {'score': s['seed'] if fresh else score, 'loss': 1.0}
    results[job.name] = exhibit.Done(s, figures)
  return results


def test_rates_are_compared_before_anything_is_reported():
  trials = SWEEP.jobs({})
  assert len(trials) == 2 * 3 * 2
  assert {job.settings['seed'] for job in trials} == {0, 1}
  assert SWEEP.best_rate('jrt', {}) is None
  assert all(job.settings['steps'] == 5 for job in trials)


def test_each_arm_runs_at_its_own_best_rate_with_fresh_seeds():
  trials = SWEEP.jobs({})
  results = measured(trials)
  fresh = SWEEP.jobs(results)[len(trials) :]
  found = {
      (job.settings['mixer'], job.settings['learning_rate']) for job in fresh
  }
  assert found == {('pla', 1e-2), ('la', 1e-3)}
  results |= measured(fresh)
  assert SWEEP.jobs(results)[len(trials) :] == fresh
  assert SWEEP.figures('jrt', results, 'score') == [10, 11, 12]


def test_a_best_rate_at_the_edge_of_those_tried_is_told():
  results = measured(SWEEP.jobs({}))
  assert SWEEP.is_at_edge('causal', results)
  assert not SWEEP.is_at_edge('jrt', results)


def test_the_lower_loss_decides_between_equal_scores_if_it_is_named():
  trials = SWEEP.jobs({})
  results = measured(trials)
  for job in trials:
    rate = job.settings['learning_rate']
    results[job.name].figures.update(score=1.0, loss={1e-2: 0.1}.get(rate, 0.2))
  assert SWEEP.best_rate('jrt', results) == 1e-3
  by_loss = SWEEP._replace(loss='loss')
  assert by_loss.best_rate('jrt', results) == 1e-2


def test_an_arm_starts_as_soon_as_its_own_trials_are_done():
  jobs = SWEEP.jobs({})
  own = measured([job for job in jobs if job.settings['mixer'] == 'pla'])
  fresh = SWEEP.jobs(own)[len(jobs) :]
  assert {job.settings['mixer'] for job in fresh} == {'pla'}


def test_a_seed_that_has_chosen_the_rate_is_not_fresh():
  with pytest.raises(ValueError, match='seeds must not be in trials, got {1}'):
    SWEEP._replace(seeds=(1, 2)).jobs({})
