"""What prefill and decoding are measured with: weights, prompts, a program."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jrt_jax import models
from jrt_jax.generation.model import Model
from jrt_jax.prefix import policies


def serve(config: Mapping[str, Any]) -> Model:
  """Returns a model with initial weights, kernels in the dtype of products.

  They are rounded to it before every product anyhow, so that results are the
  same, and a decoded token reads half as many bytes.
  """
  model = config['model']

  def initial():
    params = models.split(models.build(model, config['seed']))[1]
    return {
        name: x.astype(model['dtype']) if name.endswith('.kernel') else x
        for name, x in params.items()
    }

  return Model(config, jax.jit(initial)(), tokenizer=None)  # prompts are ids


def prompts(config: Mapping[str, Any], length: int) -> jax.Array:
  """Random int32 [batch_size, length]."""
  shape, ids = (config['batch_size'], length), config['model']['mask_id']
  return jax.random.randint(jax.random.key(config['seed']), shape, 0, ids)


def compile_prefill(model: Model, tokens: jax.Array, *, room: int = 0) -> Any:
  """Compiles a function of (params, tokens): logits, and the decode state.

  Args:
    model: that reads; its policy says how much is prefix.
    tokens: int32 [B, L].
    room: tokens to be decoded, for states that grow.
  """
  B, L = tokens.shape
  P = policies.prefix_capacity(model.config['prefix'], L)

  def prefill(params, tokens):
    return model.merge(params).prefill(
        tokens,
        prefix_len=jnp.full(B, P, jnp.int32) if P else None,
        prefix_capacity=P,
        state_capacity=L + room,
    )

  return jax.jit(prefill).lower(model.params, tokens).compile()


def check_finite(logits: jax.Array) -> None:
  """Raises FloatingPointError unless all logits are finite."""
  if not jnp.isfinite(logits).all():
    raise FloatingPointError('the logits are not finite')
