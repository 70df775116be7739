"""A model with every kind of state, and what it should compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import generation
from jrt_jax import models
from jrt_jax.data import tokenizers
from jrt_jax.models.context import Context
from jrt_jax.models.prefix_linear_attention import PrefixLinearAttention

MIXERS = 'conv', 'pla', 'swa', 'attention'


@pytest.fixture(scope='session')
def make_model(tiny_config):
  """A function that returns a model of bytes with a prefix of 8 tokens."""

  def make(mixers=MIXERS, **overrides):
    config = tiny_config(mixers=mixers, vocab_size=257, **overrides)
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

  return make


@pytest.fixture(scope='session')
def model(make_model):
  return make_model()


@pytest.fixture(scope='session')
def parallel_logits(model):
  """A function from tokens [L] and bool [N, L, L] to logits [N, L, V].

  It is the model in its parallel form, where position i sees the prefix keys of
  position j if sees[n, i, j].
  """

  def attend(mixer, x, sees):
    q, k, v, k_enc, v_enc = (
        linear(x).reshape(len(x), mixer.num_heads, -1)
        for linear in (
            mixer.proj_q,
            mixer.proj_k,
            mixer.proj_v,
            mixer.proj_k_enc,
            mixer.proj_v_enc,
        )
    )

    def weights(k, see):
      s = jnp.einsum('ihd,jhd->hij', q, k) / q.shape[-1] ** 0.5
      return jnp.where(see, 1 + s + s * s / 2, 0)

    causal, prefix = weights(k, np.tri(len(x), dtype=bool)), weights(
        k_enc, sees
    )
    y = jnp.einsum('hij,jhv->ihv', causal, v)
    y += jnp.einsum('hij,jhv->ihv', prefix, v_enc)
    total = (causal + prefix).sum(-1).T
    return mixer.out_proj((y / total[..., None]).reshape(x.shape))

  @jax.jit
  def logits(params, tokens, sees):
    language_model = model.merge(params)
    x = language_model.embedding(tokens)
    for layer in language_model.layers:
      h = layer.mixer_norm(x)
      if isinstance(layer.mixer, PrefixLinearAttention):
        x += attend(layer.mixer, h, sees)
      else:
        x += layer.mixer(h[None], Context(1, len(x)))[0]
      x += layer.mlp(layer.mlp_norm(x))
    return language_model.logits(language_model.final_norm(x))

  many = jax.jit(jax.vmap(logits, (None, None, 0)))
  return lambda tokens, sees: many(model.params, tokens, sees)
