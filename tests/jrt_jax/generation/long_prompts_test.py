import pytest

from jrt_jax.generation import long_prompts

PLANS = {
    'head': [(8, True), (20, False)],
    'tail': [(12, False), (20, True)],
    'all': [(20, True)],
    'blocks': [(8, True), (16, True), (20, True)],
}


@pytest.mark.parametrize('name', long_prompts.LONG_PROMPTS)
def test_a_plan_says_what_is_prefix(name):
  assert long_prompts.LONG_PROMPTS[name](20, 8) == PLANS[name]


@pytest.mark.parametrize('name', long_prompts.LONG_PROMPTS)
def test_a_prompt_that_fits_the_prefix_is_prefix(name):
  for length in (1, 8):
    assert long_prompts.LONG_PROMPTS[name](length, 8) == [(length, True)]


@pytest.mark.parametrize('name', long_prompts.LONG_PROMPTS)
def test_a_model_without_a_prefix_reads_causally(name):
  assert long_prompts.LONG_PROMPTS[name](20, 0) == [(20, False)]
