"""Log-likelihoods of continuations of contexts.

The context is read as a prompt, and only the context can be prefix. The
continuation is read causally, from the state after the context: within a
prefix, its tokens would see those that they have to predict.
"""

from collections.abc import Sequence
import dataclasses
import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.generation import prefill
from jrt_jax.generation import prompt_segments
from jrt_jax.generation import sizes
from jrt_jax.generation.model import Model
from jrt_jax.reporting.progress import progress_bar

_BLOCK = 512  # tokens of a row that are read at once
_POSITIONS = 32  # positions of each row whose logits exist at once

Pair = tuple[np.ndarray, np.ndarray]  # int [n] context and int [m] continuation


@dataclasses.dataclass(frozen=True)
class ScoringSettings:
  """How contexts are read.

  Attributes:
    batch_size: how many contexts are read at once.
    short_prompt, long_prompt: see `generation.GenerationSettings`; nothing is
      truncated. 'iterate' is the same as 'trim', because nothing is generated.

  Raises:
    ValueError: batch_size is not positive.
  """

  batch_size: int = 8
  short_prompt: str | None = None
  long_prompt: str = 'head'

  def __post_init__(self):
    if self.batch_size < 1:
      raise ValueError(f'batch_size must be positive, got {self.batch_size}')


class Score(NamedTuple):
  """The score of a continuation."""

  log_likelihood: float  # nats, of all tokens together; 0 without tokens
  is_greedy: bool  # whether each token is the likeliest one


class TokenScores(NamedTuple):
  """The scores of the m tokens of a continuation."""

  log_likelihoods: np.ndarray  # float32 [m], nats
  are_greedy: np.ndarray  # bool [m], whether each token is the likeliest one

  @property
  def total(self) -> Score:
    log_likelihood = float(self.log_likelihoods.sum(dtype=np.float64))
    return Score(log_likelihood, bool(self.are_greedy.all()))


def score(
    model: Model,
    pairs: Sequence[Pair],
    settings: ScoringSettings = ScoringSettings(),
) -> list[Score]:
  """Scores each continuation as a whole; see `score_tokens`."""
  return [each.total for each in score_tokens(model, pairs, settings)]


def score_tokens(
    model: Model,
    pairs: Sequence[Pair],
    settings: ScoringSettings = ScoringSettings(),
) -> list[TokenScores]:
  """Scores each token of continuations; a score depends only on its own pair.

  A context that occurs several times is read once.

  Args:
    model: a model from `generation.load`.
    pairs: contexts of at least one token, each with its continuation.
    settings: how contexts are read.

  Raises:
    ValueError: a context is empty, an id is unknown, or a setting is wrong.
  """
  same = {}  # the pairs of each context
  for i, (context, _) in enumerate(pairs):
    same.setdefault(model.encode(context).tobytes(), []).append(i)
  # Similar lengths together, the longest first: memory runs out early or never.
  groups = sorted(same.values(), key=lambda at: -len(pairs[at[0]][0]))
  scores: list[Any] = [None] * len(pairs)
  B = min(settings.batch_size, sizes.filled(len(groups)))
  B += -B % model.replicas
  with progress_bar(total=len(pairs), desc='scoring') as bar:
    for start in range(0, len(groups), B):
      batch = groups[start : start + B]
      batch += [[batch[-1][0]]] * (B - len(batch))  # one shape
      for i, found in _score_batch(model, pairs, batch, settings):
        bar.update(scores[i] is None)
        scores[i] = found
  return scores


def logits(
    model: Model,
    context: np.ndarray,
    following: np.ndarray,
    settings: ScoringSettings = ScoringSettings(),
) -> np.ndarray:
  """Returns the logits that `score` uses, float32 [N, m + 1, V].

  Args:
    model, settings: see `score`.
    context: int [n], read once.
    following: int [N, m], N continuations of it.

  Returns:
    for each continuation, the logits after the context and after each token.
  """
  N, m = following.shape
  B = sizes.filled_rows(N, model.replicas)  # few shapes compile
  state = _read(model, [context], m, settings)
  state = prefill.take([state], np.zeros(B, np.int32))
  state = prefill.commit(model, state)
  rows = np.pad(following, [(0, B - N), (0, 0)], 'edge')
  return _follow(model, state, rows, look=_look_at_logits)[:N, : m + 1]


def windows(length: int, size: int) -> list[tuple[int, int, int]]:
  """Divides a text of any length into windows with context.

  Args:
    length: the number of tokens of the text.
    size: the number of tokens of a window, at least 2.

  Returns:
    `(start, first, end)` of each window: tokens [start, first) are its context,
    and tokens [first, end) are scored. Each token is scored once. The first
    window has no context; the others have size // 2 tokens of context.
  """
  context = size // 2
  step = size - context
  ends = range(min(size, length), length, step)
  first = [(0, 0, min(size, length))] if length else []
  return first + [(n - context, n, min(n + step, length)) for n in ends]


def _score_batch(model, pairs, groups, settings):
  """Yields (i, score) of each pair i of each group, which has one context."""
  longest = max(len(pairs[i][1]) for at in groups for i in at)
  contexts = [pairs[at[0]][0] for at in groups]
  state = _read(model, contexts, longest, settings)
  for at in itertools.zip_longest(*groups):
    following = [[] if i is None else pairs[i][1] for i in at]
    seen = _follow(model, state, following, look=_look_at_token)
    for b, i in enumerate(at):
      if i is not None:
        yield i, TokenScores(*(x[b, : len(following[b])] for x in seen))


def _read(model, contexts, longest, settings):
  rows = [
      prompt_segments.of_prompt(
          model,
          model.encode(context),
          short=settings.short_prompt,
          long=settings.long_prompt,
      )
      for context in contexts
  ]
  return prefill.prefill(model, rows, room=sum(_blocks(longest)))


def _blocks(length):
  """The sizes of the blocks of a row that is padded from `length` tokens."""
  whole, rest = divmod(length, _BLOCK)
  last = min(_BLOCK, sizes.filled_length(rest))
  return [_BLOCK] * whole + [last] * (rest > 0)


def _follow(model, state, following, *, look):
  """Reads what follows; returns what `look` saw before each token, and after.

  Args:
    model: that reads.
    state: of B contexts.
    following: int [m] for each of them.
    look: a function of logits [B, V], the tokens [B] that follow them, and the
      number of ids.

  Returns:
    arrays [B, N, ...] with N > m: also a result after the last token.
  """
  blocks = _blocks(max(map(len, following)))
  tokens = _filled(model, following, sum(blocks) + 1)
  num_ids, states, start = model.tokenizer.size, state.states, 0
  first = look(state.logits, tokens[:, 0], num_ids)
  seen = [jax.tree.map(lambda x: x[None], first)]
  for size in blocks:
    with model.on_mesh():
      found, states = _look_after_each(
          model.merge,
          model.served,
          states,
          tokens[:, start : start + size + 1],
          look=look,
          num_ids=num_ids,
      )
    seen.append(found)
    start += size
  return jax.tree.map(lambda *x: np.concatenate(x).swapaxes(0, 1), *seen)


def _filled(model, following, length):
  """Pads rows to int32 [B, length]; padding at the end changes no score."""
  tokens = np.zeros((len(following), length), np.int32)
  for b, row in enumerate(following):
    if len(row):
      tokens[b, : len(row)] = model.encode(np.asarray(row))
  return tokens


@functools.partial(jax.jit, static_argnames=('merge', 'look', 'num_ids'))
def _look_after_each(merge, params, states, tokens, *, look, num_ids):
  """Reads the first C of tokens [B, C + 1]; returns [C, B, ...] and states."""
  model = merge(params)
  hidden, states = model.decode_steps(tokens[:, :-1], states)

  def look_after(position):
    hidden, token = position
    return look(model.logits(hidden), token, num_ids)

  positions = hidden.swapaxes(0, 1), tokens[:, 1:].T
  return jax.lax.map(look_after, positions, batch_size=_POSITIONS), states


def _look_at_token(logits, token, num_ids):
  """The log-probability of a token, and whether it is the likeliest."""
  log_probs = jax.nn.log_softmax(logits)
  log_prob = jnp.take_along_axis(log_probs, token[:, None], axis=1)[:, 0]
  return log_prob, logits[:, :num_ids].argmax(axis=-1) == token


def _look_at_logits(logits, token, num_ids):
  del token, num_ids
  return logits
