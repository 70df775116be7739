"""What prefill and decoding are measured with: weights and prompts."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jrt_jax import models
from jrt_jax.generation.model import as_served
from jrt_jax.generation.model import Model
from jrt_jax.prefix import policies


def serve(config: Mapping[str, Any]) -> Model:
  """Returns a model with initial weights, kept only as they are served."""
  model = config['model']

  def initial():
    params = models.split(models.build(model, config['seed']))[1]
    return as_served(model, params)

  return Model(config, jax.jit(initial)(), tokenizer=None)  # prompts are ids


def prompts(config: Mapping[str, Any], length: int) -> jax.Array:
  """Random int32 [batch_size, length]."""
  shape, ids = (config['batch_size'], length), config['model']['mask_id']
  return jax.random.randint(jax.random.key(config['seed']), shape, 0, ids)


def compile_prefill(model: Model, tokens: jax.Array) -> Any:
  """Compiles a function of (params, tokens): logits, and the decode state.

  Args:
    model: that reads; its policy says how much is prefix.
    tokens: int32 [B, L].
  """
  B, L = tokens.shape
  P = policies.prefix_capacity(model.config['prefix'], L)

  def prefill(params, tokens):
    return model.merge(params).prefill(
        tokens,
        prefix_len=jnp.full(B, P, jnp.int32) if P else None,
        prefix_capacity=P,
    )

  return jax.jit(prefill).lower(model.served, tokens).compile()


def check_finite(logits: jax.Array) -> None:
  """Raises FloatingPointError unless all logits are finite."""
  if not jnp.isfinite(logits).all():
    raise FloatingPointError('the logits are not finite')
