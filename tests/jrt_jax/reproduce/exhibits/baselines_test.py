import pytest

from jrt_jax import cost
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import training
from jrt_jax.reproduce.exhibits import baselines

EXHIBITS = {
    'mqar': baselines.MQAR,
    'set_disjointness': baselines.SET_DISJOINTNESS,
}


@pytest.mark.parametrize(
    'gdn, word', [(0.6, 'holds'), (0.9, 'partly'), (0.95, 'fails')]
)
def test_the_prefix_must_gain_over_every_causal_model(trained, gdn, word):
  shares = {'pla': 0.9, 'la': 0.5, 'gdn': gdn, 'mamba2': 0.7, 'attention': 1.0}
  shares |= {'prefix_gdn': 1.0, 'prefix_mamba2': 1.0}
  found = trained(
      baselines.MQAR,
      lambda settings: shares[settings['overrides']['model.mixers'][1]],
  )
  assert baselines.MQAR.verdict(found).word == word


@pytest.mark.parametrize('scale', exhibit.SCALES)
@pytest.mark.parametrize('task', EXHIBITS)
def test_all_recurrent_models_have_states_of_the_same_size(task, scale):
  sizes = []
  for job in EXHIBITS[task].plan(exhibit.Request(scale), {}):
    config = training.config(job.settings)
    if 'attention' not in config['model']['mixers']:
      sizes.append(cost.state_bytes(config['model'], length=1))
  assert max(sizes) < 1.03 * min(sizes)
