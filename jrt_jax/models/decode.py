"""One token after the other, with a state of constant size."""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrt_jax.models.sampling import sample
from jrt_jax.models.sampling import Sampling


class Draws(NamedTuple):
  """What the draws of B rows depend on, beside the logits."""

  keys: jax.Array  # random keys [B], one for each row
  count: jax.Array  # int32, how many tokens were drawn before
  seen: jax.Array | None  # bool [B, num_ids], which ids have occurred


@functools.partial(
    jax.jit, static_argnames=('merge', 'num_tokens', 'sampling', 'num_ids')
)
def decode(
    merge: Callable,
    params: Mapping[str, jax.Array],
    logits: jax.Array,
    states: tuple[Any, ...],
    draws: Draws,
    *,
    num_tokens: int,
    num_ids: int,
    sampling: Sampling,
) -> tuple[jax.Array, jax.Array, tuple[Any, ...], Draws]:
  """Draws tokens and reads each of them, in one compiled loop.

  What a row draws depends on its key, its count and its logits only: not on
  the other rows, and not on how many tokens are drawn at once.

  Args:
    merge: makes a model of `params`, from `models.split`.
    params: its parameters.
    logits: float32 [B, V] after the last token that was read.
    states: of the model, after that token.
    draws: for the first token to be drawn.
    num_tokens: N, how many tokens to draw for each row.
    num_ids: how many ids the tokenizer has; no other id is drawn.
    sampling: how to draw.

  Returns:
    tokens int32 [B, N], and logits, states and draws after the last of them.
  """
  model = merge(params)

  def step(carry, _):
    logits, states, draws = carry
    keys = jax.vmap(jax.random.fold_in, (0, None))(draws.keys, draws.count)
    token = sample(logits, keys, sampling, num_ids=num_ids, seen=draws.seen)
    logits, states = model.decode_step(token, states)
    seen = draws.seen
    if seen is not None:
      seen = seen.at[jnp.arange(len(token)), token].set(True)
    return (logits, states, Draws(draws.keys, draws.count + 1, seen)), token

  carry, tokens = jax.lax.scan(
      step, (logits, states, draws), None, length=num_tokens
  )
  return tokens.T, *carry


@functools.partial(
    jax.jit, static_argnames=('merge', 'num_tokens', 'sampling', 'num_ids')
)
def continue_prompts(
    merge: Callable,
    params: Mapping[str, jax.Array],
    prompts: jax.Array,
    prefix_len: jax.Array,
    key: jax.Array,
    *,
    num_tokens: int,
    num_ids: int,
    sampling: Sampling = Sampling(),
) -> jax.Array:
  """Continues prompts of one length; prefill and decoding are one program.

  Args:
    merge, params, num_tokens, num_ids, sampling: see `decode`.
    prompts: int32 [B, L].
    prefix_len: int32 [B], how much of each prompt is read as prefix.
    key: a random key.

  Returns:
    int32 [B, num_tokens].
  """
  B, L = prompts.shape
  logits, states = merge(params).prefill(
      prompts, prefix_len=prefix_len, state_capacity=L + num_tokens
  )
  seen = jnp.zeros((B, num_ids), bool).at[jnp.arange(B)[:, None], prompts]
  draws = Draws(jax.random.split(key, B), jnp.int32(0), seen.set(True))
  return decode(
      merge,
      params,
      logits,
      states,
      draws,
      num_tokens=num_tokens,
      num_ids=num_ids,
      sampling=sampling,
  )[0]
