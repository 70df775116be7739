import jax.numpy as jnp
import pytest

from jrt_jax import models
from jrt_jax.benchmarks import inference


@pytest.fixture(scope='module')
def model(small_run):
  config = small_run(('pla',))
  config['model']['dtype'] = 'bfloat16'
  return inference.serve(config)


def test_kernels_are_served_in_the_dtype_of_the_products(model):
  for name, param in model.params.items():
    in_layers = name.endswith(('.kernel', '.bias'))
    in_layers |= name == models.ROUNDED_TABLE
    expected = jnp.bfloat16 if in_layers else jnp.float32
    assert param.dtype == expected, name


def test_prompts_hold_ids_of_tokens_only(small_run):
  tokens = inference.prompts(small_run(), 256)
  assert tokens.shape == (4, 256) and tokens.dtype == jnp.int32
  assert {*tokens.flatten().tolist()} == {*range(19)}  # 19 is [MASK]


def test_logits_must_be_finite():
  logits = jnp.zeros((2, 20))
  inference.check_finite(logits)
  with pytest.raises(FloatingPointError, match='not finite'):
    inference.check_finite(logits.at[1, 3].set(jnp.nan))
