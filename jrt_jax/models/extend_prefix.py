"""Reads a text in pieces, and lets its prefix grow.

    stream = start(model, batch=2)
    stream = read(model, stream, tokens[:, :100], as_prefix=True)
    stream = read(model, stream, tokens[:, 100:180])
    stream = extend_prefix(model, stream, tokens, jnp.array([150, 180]))
    stream = read(model, stream, tokens[:, 180:])

All of these functions can be used inside `jax.jit`. The caller keeps the
tokens; a `Stream` has the size of two decode states, however long the text is.

Source: the student report, section 4.1 (updating states when the length of the
prefix changes). The two modes are ours.
"""

from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jrt_jax.models import decoding_block
from jrt_jax.models.context import Context
from jrt_jax.models.language_model import LanguageModel

MODES = ('exact', 'frozen')


class Stream(NamedTuple):
  """The state of B rows after reading a prefix and the tokens that follow."""

  logits: jax.Array  # float32 [B, V], of the next token
  states: tuple[Any, ...]  # states of the layers after all tokens
  at_prefix: tuple[Any, ...]  # states of the layers after the prefix only
  position: jax.Array  # int32 [B], number of tokens read
  prefix_len: jax.Array  # int32 [B], number of first tokens that are prefix


def start(
    model: LanguageModel, *, batch: int, state_capacity: int | None = None
) -> Stream:
  """Returns `batch` rows that have read nothing.

  Args:
    model: the model.
    batch: B.
    state_capacity: see `LanguageModel.prefill`; needed for models with
      `attention` layers only.

  Raises:
    ValueError: the capacity is missing.
  """
  grows = any(layer.facts.state_grows for layer in model.layers)
  if state_capacity is None and grows:
    raise ValueError(
        'state_capacity must be given for a model with attention layers, got'
        ' None'
    )
  states = model.initial_states(batch, state_capacity=state_capacity)
  logits = jnp.zeros((batch, model.vocab_size), jnp.float32)
  count = jnp.zeros(batch, jnp.int32)
  return Stream(logits, states, states, count, count)


def read(
    model: LanguageModel,
    stream: Stream,
    tokens: jax.Array,
    *,
    mask: jax.Array | None = None,
    as_prefix: bool = False,
) -> Stream:
  """Reads the next tokens.

  Args:
    model: the model.
    stream: the state so far; it stays valid.
    tokens: int32 [B, L]; the tokens of each row start at its first position.
    mask: bool [B, L], False at padding; None: no padding. A row may have no
      tokens.
    as_prefix: whether the tokens extend the prefix, so that they see each
      other; otherwise they are read causally. Mixers whose prefix does not add
      up (`PrefixMixer.prefix_is_sum`) read them as a further prefix.

  Raises:
    ValueError: `as_prefix` is True although tokens after the prefix have been
      read. Under `jit` values are unknown; then those tokens are left out of
      the prefix.
  """
  B, L = tokens.shape
  if mask is None:
    mask = jnp.ones((B, L), bool)
  count = mask.sum(axis=1, dtype=jnp.int32)
  if as_prefix:
    _check(
        (count == 0) | (stream.prefix_len == stream.position),
        'as_prefix=True needs a prefix that contains all'
        f' {stream.position} tokens read so far, got {stream.prefix_len}: see'
        ' extend_prefix',
    )
  logits, states = model.prefill(
      tokens,
      mask=mask,
      prefix_len=count if as_prefix else None,
      states=stream.states,
  )
  position = stream.position + count
  new = Stream(
      logits,
      states,
      states if as_prefix else stream.at_prefix,
      position,
      position if as_prefix else stream.prefix_len,
  )
  return decoding_block.choose_rows(count > 0, new, stream)


def extend_prefix(
    model: LanguageModel,
    stream: Stream,
    tokens: jax.Array,
    prefix_len: jax.Array,
    *,
    mode: str = 'exact',
    capacity: int | None = None,
) -> Stream:
  """Extends the prefix from M to M' tokens that were already read.

  The mode 'exact' reads all tokens again with the longer prefix. The mode
  'frozen' only adds the tokens from M to M' to the prefix sums of `pla` layers:
  it reads these M' - M tokens again, as they were read after the prefix of M,
  and leaves the contributions of all other tokens unchanged. Both modes agree
  if there is one `pla` layer and no mixer after it; otherwise 'frozen' is an
  approximation, which costs O(M' - M). The logits of the next token are new
  with 'exact', and unchanged with 'frozen'.

  Args:
    model: the model.
    stream: the state so far; it stays valid.
    tokens: int32 [B, L], each row from its first token on, with at least all
      tokens read; further tokens are ignored.
    prefix_len: int32 [B], M', from `stream.prefix_len` to `stream.position`.
    mode: 'exact' or 'frozen'.
    capacity: for 'frozen', an upper bound of M' - M; a smaller one costs less.
      None: L.

  Raises:
    ValueError: the mode is unknown, or is 'frozen' although a layer has a
      prefix that does not add up; tokens are missing; or a prefix would shrink,
      be longer than the tokens read, or grow by more than `capacity`.
      Under `jit` values are unknown; then the nearest possible length is used.
  """
  if mode not in MODES:
    raise ValueError(f'mode must be one of {MODES}, got {mode!r}')
  if mode == 'frozen':
    _check_sums(model)
  L, low = tokens.shape[1], stream.prefix_len
  _check(
      stream.position <= L,
      f'tokens must have all {stream.position} that were read, got {L}',
  )
  C = L if capacity is None or mode == 'exact' else capacity
  high = jnp.minimum(stream.position, low + C)
  _check(
      (low <= prefix_len) & (prefix_len <= high),
      f'prefix_len must be between {low} and {high}, got {prefix_len}',
  )
  prefix_len = jnp.clip(prefix_len, low, high)
  if mode == 'exact':
    return _read_again(model, stream, tokens, prefix_len)
  return _add(model, stream, tokens, prefix_len, C)


def _check_sums(model):
  for layer in model.layers:
    if layer.facts.reads_prefix and not layer.mixer.prefix_is_sum:
      raise ValueError(
          f"mode must be 'exact' for a model with {layer.kind} layers whose"
          " prefix is read as a whole, got 'frozen'"
      )


def _read_again(model, stream, tokens, prefix_len):
  """Reads all tokens again, from the beginning."""
  L = tokens.shape[1]
  before = jnp.arange(L) < prefix_len[:, None]
  after = jnp.arange(L) < (stream.position - prefix_len)[:, None]
  stream = jax.tree.map(jnp.zeros_like, stream)  # as `start` returns it
  stream = read(model, stream, tokens, mask=before, as_prefix=True)
  return read(model, stream, _from(tokens, prefix_len, L), mask=after)


def _add(model, stream, tokens, prefix_len, C):
  """Adds the tokens between the old and the new end of the prefix."""
  more = prefix_len - stream.prefix_len
  x = model.embed(_from(tokens, stream.prefix_len, C))
  context = Context(*x.shape[:2], mask=jnp.arange(C) < more[:, None])
  at_prefix, states = [], []
  for layer, first, last in zip(
      model.layers, stream.at_prefix, stream.states, strict=True
  ):
    h = layer.mixer_norm(x)
    x, first = layer.prefill(x, context, first)
    if layer.facts.reads_prefix:
      first = layer.mixer.read_prefix(h[None], context.mask[None], first)
      last = layer.mixer.read_prefix(h[None], context.mask[None], last)
    at_prefix.append(first)
    states.append(last)
  return stream._replace(
      states=tuple(states), at_prefix=tuple(at_prefix), prefix_len=prefix_len
  )


def _from(tokens, first, length):
  """Returns `length` tokens of each row from `first`, int32 [B], on."""
  at = first[:, None] + jnp.arange(length)
  last = tokens.shape[1] - 1
  return jnp.take_along_axis(tokens, jnp.minimum(at, last), axis=1)


def _check(holds, message):
  """Raises ValueError unless all of bool [B] holds; does nothing under jit."""
  if not isinstance(holds, jax.core.Tracer) and not np.all(holds):
    raise ValueError(message)
