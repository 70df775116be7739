import pytest

from jrt_jax import cost
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import training
from jrt_jax.reproduce.exhibits import ridge

EXHIBIT = ridge.EXHIBIT


@pytest.mark.parametrize(
    'ridge, contracted, word',
    [
        (0.54, 0.51, 'holds'),
        (0.54, 0.53, 'fails'),  # less than two points
        (0.52, 0.49, 'fails'),  # less than three over the sum
    ],
)
def test_ridge_must_gain_over_the_sum_and_over_contracted_queries(
    trained, ridge, contracted, word
):
  right = {'ridge': ridge, 'contracted': contracted, None: 0.5}

  def share(settings):
    overrides = settings['overrides']
    if 'attention' in overrides['model.mixers']:
      return 1.0
    return right[overrides.get('model.pla.prefix_reader')]

  assert EXHIBIT.verdict(trained(EXHIBIT, share)).word == word


@pytest.mark.parametrize('scale', exhibit.SCALES)
def test_all_have_states_of_the_same_size_and_fewer_features_than_pairs(scale):
  sizes = set()
  for job in EXHIBIT.plan(exhibit.Request(scale), {}):
    config = training.config(job.settings)
    if 'pla' in config['model']['mixers']:
      sizes.add(cost.state_bytes(config['model'], length=1))
    D = config['model']['feature_map']['feature_dim']
    pairs = [K for _, K in config['data']['synthetic']['sizes']]
    assert max(pairs) > 1 + D + D * (D + 1) // 2
  assert len(sizes) == 1
