"""A model of bytes with every kind of state and a prefix of 8 tokens."""

import jax
import pytest

from jrt_jax import generation
from jrt_jax import models
from jrt_jax.data import tokenizers


@pytest.fixture(scope='session')
def model(tiny_config):
  config = tiny_config(
      mixers=('conv', 'pla', 'swa', 'attention'), vocab_size=257
  )
  params = models.split(models.build(config))[1]
  # Without this an untrained model with tied embeddings repeats its input.
  scale = jax.random.normal(jax.random.key(2), (config['width'],))
  run = {
      'model': config,
      'prefix': {'name': 'fixed', 'capacity': 0.5},
      'sequence_length': 16,
      'data': {'tokenizer': 'bytes'},
  }
  return generation.Model(
      run, params | {'final_norm.scale': scale}, tokenizers.Bytes()
  )


@pytest.fixture(scope='session')
def parallel(model):
  """A function from tokens [N, L] and prefix_len [N] to logits [N, L, V]."""

  @jax.jit
  def logits(tokens, prefix_len):
    return model.merge(model.params)(tokens, prefix_len=prefix_len)

  return logits
