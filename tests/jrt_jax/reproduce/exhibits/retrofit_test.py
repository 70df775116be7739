import numpy as np
import pytest

from jrt_jax.reproduce import charts
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import training
from jrt_jax.reproduce.exhibits import retrofit

EXHIBIT = retrofit.EXHIBIT


@pytest.fixture
def results(complete):
  """What `score` has for each (arm, rate, seed), in the place of training."""

  def results(score):

    def figures(settings):
      found = {
          arm: [score(arm, rate, settings['seed']) for rate in rates]
          for arm, rates in settings['rates'].items()
      }
      return found | {'base': 0.1}

    return complete(EXHIBIT, figures)

  return results


@pytest.mark.parametrize(
    'gains, word',
    [
        ((0.03, 0.03, 0.031), 'holds'),
        ((0.0, 0.01, 0.05), 'open'),
        ((0.009, 0.009, 0.009), 'fails'),  # a gain, of less than a point
    ],
)
def test_the_prefix_must_gain_a_point_over_the_same_steps_causal(
    results, gains, word
):
  by_seed = dict(zip((11, 12, 13), gains))

  def score(arm, rate, seed):
    return 0.2 + (arm == 'pla') * by_seed.get(seed, 0.0)

  found = results(score)
  assert EXHIBIT.verdict(found).word == word
  (table,) = EXHIBIT.show(found)
  assert table.rows['before'][0].estimate == pytest.approx(10)
  charts.check(table)


def test_each_arm_goes_on_at_the_rate_that_was_best_in_the_trial(results):
  best = {'la': 1e-3, 'pla': 3e-3}
  found = results(
      lambda arm, rate, seed: None if rate < 1e-3 else -abs(rate - best[arm])
  )
  rates = found['run-seed11'].settings['rates']
  assert rates == {'la': [1e-3], 'pla': [3e-3]}


def test_both_arms_go_on_from_the_causal_model_with_the_same_data(
    monkeypatch, tmp_path
):
  configs = {}

  def run(whole, workdir):
    configs[workdir.name] = whole
    return {'recall_accuracy': 0.2}

  monkeypatch.setattr(training, 'run', run)
  job = EXHIBIT.plan(exhibit.Request('cpu'), {})[0]
  figures = EXHIBIT.measure(job.settings, tmp_path)
  assert len(figures['la']) == len(figures['pla']) == 3
  base, causal, prefix = (configs[x] for x in ('base', 'la-0.001', 'pla-0.001'))
  assert causal['steps'] == prefix['steps'] == base['steps'] // 10
  for key in ('seed', 'objective', 'prefix', 'optimizer', 'init_from', 'data'):
    assert causal[key] == prefix[key] != base.get(key) or key == 'data'
  assert prefix['init_from'] == str(tmp_path / 'base')
  assert {'pla'} == {*prefix['model']['mixers']} - {*base['model']['mixers']}


@pytest.mark.slow
def test_a_causal_model_begins_to_read_a_prefix(tmp_path):
  job = EXHIBIT.plan(exhibit.Request('cpu'), {})[0]
  settings = {
      **job.settings,
      'steps': 20,
      'rates': {'la': [1e-4], 'pla': [1e-4]},
  }
  figures = EXHIBIT.measure(settings, tmp_path)
  np.testing.assert_allclose(figures['pla'], figures['la'], atol=0.05)
