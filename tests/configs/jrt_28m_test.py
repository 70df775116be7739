"""The 28M model: one model, trained for as long as the machine allows."""

import pytest

from configs import jrt_28m
from jrt_jax import cost
from jrt_jax.cost import estimate


def num_parameters(config):
  return sum(cost.parameters(config.model.to_dict()).values())


@pytest.mark.parametrize('machine', jrt_28m.MACHINES)
def test_the_28m_model_is_the_same_on_a_gpu_and_on_a_laptop(machine):
  config = jrt_28m.get_config(machine)
  assert config.model == jrt_28m.get_config().model
  assert num_parameters(config) == 28_211_712


def test_the_28m_config_says_how_many_tokens_a_parameter_sees():
  for machine, tokens, ratio in (
      ('gpu', '2.6B tokens, 93', 93),
      ('laptop', '0.9', 0.9),
  ):
    config = jrt_28m.get_config(machine)
    assert f' {tokens} for each' in ' '.join(jrt_28m.__doc__.split())
    found = estimate.tokens(config.to_dict()) / num_parameters(config)
    assert found == pytest.approx(ratio, rel=0.05)


def test_another_machine_is_refused():
  with pytest.raises(ValueError, match="of gpu, laptop, got 'phone'"):
    jrt_28m.get_config('phone')
