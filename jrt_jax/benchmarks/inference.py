"""The weights and prompts for measuring prefill and decoding."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax import models
from jrt_jax.generation import prefill
from jrt_jax.generation import prompt_segments
from jrt_jax.generation.model import as_served
from jrt_jax.generation.model import Model
from jrt_jax.generation.prefill import DecodeState
from jrt_jax.models import decode


def serve(config: Mapping[str, Any]) -> Model:
  """Returns a model with initial weights, in the form for inference only."""
  model = config['model']

  def initial():
    params = models.split(models.build(model, config['seed']))[1]
    return as_served(model, params)

  return Model(config, jax.jit(initial)(), tokenizer=None)  # prompts are ids


def prompts(config: Mapping[str, Any], length: int) -> np.ndarray:
  """Random int32 [batch_size, length]."""
  shape, ids = (config['batch_size'], length), config['model']['mask_id']
  key = jax.random.key(config['seed'])
  return np.asarray(jax.random.randint(key, shape, 0, ids))


def read(model: Model, rows: np.ndarray, *, long: str = 'head') -> DecodeState:
  """Reads prompts as `generate` does, with room for one call of its loop.

  Args:
    model: the model; its policy decides how much is prefix.
    rows: int32 [B, L].
    long: a name in LONG_PROMPTS.
  """
  return prefill.prefill(
      model,
      [prompt_segments.of_prompt(model, row, long=long) for row in rows],
      room=decode.MAX_TOKENS,
  )


def check_finite(logits: jax.Array) -> None:
  """Raises FloatingPointError unless all logits are finite."""
  if not jnp.isfinite(logits).all():
    raise FloatingPointError('the logits are not finite')
