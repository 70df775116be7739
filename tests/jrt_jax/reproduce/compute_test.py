import pytest

from configs import jrt_360m
from jrt_jax import cost
from jrt_jax.cost import topology
from jrt_jax.planning import budget
from jrt_jax.reproduce import compute


def test_training_takes_six_operations_a_parameter_and_token_about():
  config = jrt_360m.get_config().to_dict()
  parameters = sum(cost.parameters(config['model']).values())
  tokens = 60_000 * 256 * 2048
  hours = compute.jrt_360m_hours()
  assert hours == pytest.approx(
      3 * compute.reading_hours(parameters, tokens), rel=0.3
  )


def test_a_run_takes_the_hours_that_are_planned_for_it():
  plan = budget.make(jrt_360m.get_config().to_dict(), topology.parse('8xH100'))
  assert compute.jrt_360m_hours() == pytest.approx(plan['run']['gpu_hours'])
