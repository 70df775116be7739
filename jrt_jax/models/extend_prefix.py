"""A text that is read as it comes, and whose prefix grows meanwhile.

    stream = start(model, batch=2)
    stream = read(model, stream, tokens[:, :100], as_prefix=True)
    stream = read(model, stream, tokens[:, 100:180])
    stream = extend_prefix(model, stream, tokens, jnp.array([150, 180]))
    stream = read(model, stream, tokens[:, 180:])

Any of these may be inside `jax.jit`. The caller keeps the tokens; a `Stream` has
the size of two decode states, however long the text is.

Source: the student report, section 4.1 (states that follow when the length of
the prefix changes). The two modes are ours.
"""

from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jrt_jax.models import block
from jrt_jax.models.context import Context
from jrt_jax.models.language_model import LanguageModel
from jrt_jax.models.softmax_attention import SoftmaxAttention

MODES = ('exact', 'frozen')


class Stream(NamedTuple):
  """What B rows remember of what they have read, a prefix and what follows."""

  logits: jax.Array  # float32 [B, V], of the next token
  states: tuple[Any, ...]  # of the layers, after all tokens
  at_prefix: tuple[Any, ...]  # the same after the tokens of the prefix alone
  position: jax.Array  # int32 [B], tokens that were read
  prefix_len: jax.Array  # int32 [B], how many of the first are prefix


def start(
    model: LanguageModel, *, batch: int, state_capacity: int | None = None
) -> Stream:
  """Returns `batch` rows that have read nothing.

  Args:
    model: that will read.
    batch: B.
    state_capacity: tokens of a row that `attention` layers have room for, as in
      `LanguageModel.prefill`; a model without them needs none.

  Raises:
    ValueError: the capacity is missing.
  """
  mixers = [layer.mixer for layer in model.layers]
  if state_capacity is None and any(
      isinstance(mixer, SoftmaxAttention) and mixer.window is None
      for mixer in mixers
  ):
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
  """Reads what comes next.

  Args:
    model: that reads.
    stream: what was read before; it stays valid.
    tokens: int32 [B, L], which each row starts with its own.
    mask: bool [B, L], which are tokens; None: all. A row may have none.
    as_prefix: whether they join the prefix, so that they see each other; else
      they are read causally.

  Raises:
    ValueError: tokens are to join a prefix that does not reach them (under
      `jit`, where values are unknown, those between are left out of it).
  """
  B, L = tokens.shape
  if mask is None:
    mask = jnp.ones((B, L), bool)
  count = mask.sum(axis=1, dtype=jnp.int32)
  if as_prefix:
    _check(
        (count == 0) | (stream.prefix_len == stream.position),
        f'as_prefix=True needs a prefix of all {stream.position} tokens that'
        f' were read before, got {stream.prefix_len}: see extend_prefix',
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
  return block.choose_rows(count > 0, new, stream)


def extend_prefix(
    model: LanguageModel,
    stream: Stream,
    tokens: jax.Array,
    prefix_len: jax.Array,
    *,
    mode: str = 'exact',
    capacity: int | None = None,
) -> Stream:
  """Makes more of what was read prefix.

  'exact' reads all tokens again, and returns what they would have become with
  the longer prefix from the beginning. 'frozen' only adds the tokens M to M' to
  the sums that `pla` layers keep of their prefix: it reads these M' - M again,
  as they were read after the prefix of M, and leaves all that other tokens have
  left in the states as it was. With one `pla` layer, and no mixer after it, that
  is the same; else it is an approximation, which costs O(M' - M). Logits of the
  next token are new if exact, and kept if frozen.

  Args:
    model: that has read.
    stream: what it has read; it stays valid.
    tokens: int32 [B, L], the rows from their first token on, with at least
      those that were read; others are not looked at.
    prefix_len: int32 [B], M', between M, that of the stream, and its position.
    mode: 'exact' or 'frozen'.
    capacity: of 'frozen', at least M' - M of every row; a smaller one costs
      less. None: L.

  Raises:
    ValueError: the mode is unknown, tokens are missing, or a prefix would
      shrink, outgrow what was read, or grow by more than `capacity` (under
      `jit`, where values are unknown, it takes the nearest possible length).
  """
  if mode not in MODES:
    raise ValueError(f'mode must be one of {MODES}, got {mode!r}')
  L, low = tokens.shape[1], stream.prefix_len
  _check(
      stream.position <= L,
      f'tokens must hold all {stream.position} that were read, got {L}',
  )
  C = L if capacity is None or mode == 'exact' else capacity
  high = jnp.minimum(stream.position, low + C)
  _check(
      (low <= prefix_len) & (prefix_len <= high),
      f'prefix_len must lie between {low} and {high}, got {prefix_len}',
  )
  prefix_len = jnp.clip(prefix_len, low, high)
  if mode == 'exact':
    return _read_again(model, stream, tokens, prefix_len)
  return _add(model, stream, tokens, prefix_len, C)


def _read_again(model, stream, tokens, prefix_len):
  """All tokens, from the beginning."""
  L = tokens.shape[1]
  before = jnp.arange(L) < prefix_len[:, None]
  after = jnp.arange(L) < (stream.position - prefix_len)[:, None]
  stream = jax.tree.map(jnp.zeros_like, stream)  # as `start` returns it
  stream = read(model, stream, tokens, mask=before, as_prefix=True)
  return read(model, stream, _from(tokens, prefix_len, L), mask=after)


def _add(model, stream, tokens, prefix_len, C):
  """The tokens after the prefix of the stream, up to the longer one."""
  more = prefix_len - stream.prefix_len
  x = model.embed(_from(tokens, stream.prefix_len, C))
  context = Context(*x.shape[:2], mask=jnp.arange(C) < more[:, None])
  at_prefix, states = [], []
  for layer, first, last in zip(
      model.layers, stream.at_prefix, stream.states, strict=True
  ):
    h = layer.mixer_norm(x)
    x, first = layer.prefill(x, context, first)
    if layer.reads_prefix:
      first = layer.mixer.read_prefix(h, context, first)
      last = layer.mixer.read_prefix(h, context, last)
    at_prefix.append(first)
    states.append(last)
  return stream._replace(
      states=tuple(states), at_prefix=tuple(at_prefix), prefix_len=prefix_len
  )


def _from(tokens, first, length):
  """Int32 [B, length], of each row the tokens from int32 [B] `first` on."""
  at = first[:, None] + jnp.arange(length)
  last = tokens.shape[1] - 1
  return jnp.take_along_axis(tokens, jnp.minimum(at, last), axis=1)


def _check(holds, message):
  """Raises ValueError unless bool [B] holds, if that is known already."""
  if not isinstance(holds, jax.core.Tracer) and not np.all(holds):
    raise ValueError(message)
