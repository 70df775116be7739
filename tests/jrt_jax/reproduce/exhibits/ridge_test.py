import pytest

from jrt_jax import cost
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import training
from jrt_jax.reproduce.exhibits import ridge

EXHIBIT = ridge.EXHIBIT


@pytest.mark.parametrize('gain, word', [(0.04, 'holds'), (0.02, 'fails')])
def test_ridge_must_gain_three_points_over_the_sum(trained, gain, word):

  def share(settings):
    overrides = settings['overrides']
    if 'attention' in overrides['model.mixers']:
      return 1.0
    return 0.5 + gain * (overrides.get('model.pla.prefix_reader') == 'ridge')

  assert EXHIBIT.verdict(trained(EXHIBIT, share)).word == word


@pytest.mark.parametrize('scale', exhibit.SCALES)
def test_both_have_states_of_the_same_size_and_fewer_features_than_pairs(scale):
  sizes = set()
  for job in EXHIBIT.plan(exhibit.Request(scale), {}):
    config = training.config(job.settings)
    if 'pla' in config['model']['mixers']:
      sizes.add(cost.state_bytes(config['model'], length=1))
    D = config['model']['feature_map']['feature_dim']
    pairs = [K for _, K in config['data']['synthetic']['sizes']]
    assert max(pairs) > 1 + D + D * (D + 1) // 2
  assert len(sizes) == 1
