"""Decodes token by token, in a compiled loop."""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrt_jax.models.language_model import LanguageModel
from jrt_jax.models.sampling import sample
from jrt_jax.models.sampling import Sampling

MAX_TOKENS = 256  # tokens of a row that one call draws
# Tokens between two checks whether texts have ended. A check makes the GPU
# wait; tokens that were drawn after the end of all texts are discarded.
CHECK_EVERY = 4


class SamplerState(NamedTuple):
  """The state of sampling for B rows."""

  keys: jax.Array  # random keys [B], one for each row
  count: jax.Array  # int32, number of tokens drawn so far
  seen: jax.Array | None  # bool [B, num_ids], ids that have occurred


class StopRule(NamedTuple):
  """When the loop on the device stops, so that the host can check texts.

  It stops after at least `least` and at most `tokens` tokens, as soon as each
  of the `rows` has drawn one of the `ids`.
  """

  tokens: jax.Array  # int32
  least: jax.Array  # int32
  rows: jax.Array  # bool [B]
  ids: jax.Array  # bool [num_ids]


class DecodedTokens(NamedTuple):
  """The tokens of one call; only the first `count` of each row are valid."""

  tokens: jax.Array  # int32 [B, N]
  count: jax.Array  # int32
  finite: jax.Array  # int32 [B], number of tokens before logits were not finite


@functools.partial(
    jax.jit,
    static_argnames=('merge', 'num_ids', 'sampling', 'check_every'),
    donate_argnames=('logits', 'states', 'sampler'),
)
def decode(
    merge: Callable,
    params: Mapping[str, jax.Array],
    logits: jax.Array,
    states: tuple[Any, ...],
    sampler: SamplerState,
    until: StopRule,
    *,
    num_ids: int,
    sampling: Sampling,
    check_every: int = CHECK_EVERY,
) -> tuple[DecodedTokens, jax.Array, tuple[Any, ...], SamplerState]:
  """Draws tokens and reads each of them, in one loop on the device.

  The tokens of a row depend only on its key, its count and its logits, not on
  other rows or on how many tokens are drawn at once. Logits, states and sampler
  are updated in place: the given arrays cannot be used afterwards.

  Args:
    merge: maps `params` to a model, from `models.split`.
    params: the parameters.
    logits: float32 [B, V] after the last token that was read.
    states: the states of the model after that token.
    sampler: the state of sampling before the first new token.
    until: when to return; at most about `MAX_TOKENS` tokens are drawn.
    num_ids: number of ids of the tokenizer; others are not drawn.
    sampling: how to draw.
    check_every: tokens between two checks of `until`; the number of drawn
      tokens is a multiple of it.

  Returns:
    The tokens, and logits, states and sampler after the last of them.
  """
  step = functools.partial(
      _step, merge(params), num_ids=num_ids, sampling=sampling
  )
  B, C = len(logits), check_every
  blocks = -(-MAX_TOKENS // C)

  def goes_on(loop):
    n, ended, *_ = loop
    more = (n < blocks) & (n * C < until.tokens)
    return more & ((n * C < until.least) | (until.rows & ~ended).any())

  def block(loop):
    n, ended, finite, tokens, carry = loop
    carry, (new, is_finite) = jax.lax.scan(step, carry, length=C)
    sound = jnp.cumprod(jnp.vstack([finite == n * C, is_finite]), axis=0)[1:]
    return (
        n + 1,
        ended | until.ids[new].any(axis=0),
        finite + sound.sum(axis=0, dtype=jnp.int32),
        jax.lax.dynamic_update_index_in_dim(tokens, new, n, axis=0),
        carry,
    )

  n, _, finite, tokens, carry = jax.lax.while_loop(
      goes_on,
      block,
      (
          jnp.int32(0),
          jnp.zeros(B, bool),
          jnp.zeros(B, jnp.int32),
          jnp.zeros((blocks, C, B), jnp.int32),
          (logits, states, sampler),
      ),
  )
  return DecodedTokens(tokens.reshape(-1, B).T, n * C, finite), *carry


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
  """Continues prompts of equal length; prefill and decoding are one program.

  Args:
    merge, params, num_ids, sampling: see `decode`.
    prompts: int32 [B, L].
    prefix_len: int32 [B], length of the prefix of each prompt.
    key: a random key.
    num_tokens: number of tokens to draw for each row.

  Returns:
    int32 [B, num_tokens].
  """
  B, L = prompts.shape
  model = merge(params)
  logits, states = model.prefill(
      prompts, prefix_len=prefix_len, state_capacity=L + num_tokens
  )
  seen = jnp.zeros((B, num_ids), bool).at[jnp.arange(B)[:, None], prompts]
  sampler = SamplerState(jax.random.split(key, B), jnp.int32(0), seen.set(True))
  step = functools.partial(_step, model, num_ids=num_ids, sampling=sampling)
  _, (tokens, _) = jax.lax.scan(
      step, (logits, states, sampler), length=num_tokens
  )
  return tokens.T


def _step(model: LanguageModel, carry, _, *, num_ids: int, sampling: Sampling):
  """Draws a token for each row and reads it.

  Returns the next logits, states and sampler; the tokens, int32 [B]; and
  whether the logits that they were drawn from were finite, bool [B].
  """
  logits, states, sampler = carry
  keys = jax.vmap(jax.random.fold_in, (0, None))(sampler.keys, sampler.count)
  token = sample(logits, keys, sampling, num_ids=num_ids, seen=sampler.seen)
  is_finite = jnp.isfinite(logits).all(axis=1)
  logits, states = model.decode_step(token, states)
  seen = sampler.seen
  if seen is not None:
    seen = seen.at[jnp.arange(len(token)), token].set(True)
  sampler = SamplerState(sampler.keys, sampler.count + 1, seen)
  return (logits, states, sampler), (token, is_finite)
