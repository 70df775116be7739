"""Prefill, then one token at a time with a state of constant size."""

from collections.abc import Callable, Mapping
import functools

import jax

from jrt_jax.generation.sampling import sample


@functools.partial(
    jax.jit, static_argnames=('merge', 'num_tokens', 'temperature', 'num_ids')
)
def generate(
    merge: Callable,
    params: Mapping[str, jax.Array],
    prompts: jax.Array,
    prefix_len: jax.Array,
    key: jax.Array,
    *,
    num_tokens: int,
    num_ids: int,
    temperature: float = 0.0,
) -> jax.Array:
  """Continues prompts of one length; prefill and decoding are one program.

  Args:
    merge: makes a model of `params`, from `models.split`.
    params: its parameters.
    prompts: int32 [B, L].
    prefix_len: int32 [B], how much of each prompt is read as prefix.
    key: a random key, for temperatures above 0.
    num_tokens: how many tokens to generate.
    num_ids: how many ids the tokenizer has; no other id is generated.
    temperature: 0 always takes the likeliest token.

  Returns:
    int32 [B, num_tokens].
  """
  model = merge(params)
  draw = functools.partial(sample, temperature=temperature, num_ids=num_ids)

  def step(carry, key):
    logits, state = carry
    token = draw(logits, key)
    return model.decode_step(token, state), token

  start = model.prefill(
      prompts,
      prefix_len=prefix_len,
      state_capacity=prompts.shape[1] + num_tokens,
  )
  _, tokens = jax.lax.scan(step, start, jax.random.split(key, num_tokens))
  return tokens.T
