"""From prompts to texts, while they come into being."""

from collections.abc import Iterator, Sequence
import dataclasses
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.generation import decode
from jrt_jax.generation import long_prompts
from jrt_jax.generation import reading as reading_lib
from jrt_jax.generation.model import Model
from jrt_jax.generation.reading import Piece
from jrt_jax.generation.reading import Reading
from jrt_jax.generation.sampling import Sampling

_CHUNK = 16  # tokens that one call of the compiled loop draws


@dataclasses.dataclass(frozen=True)
class Settings:
  """How prompts are read and continued.

  Attributes:
    sampling: how tokens are drawn.
    max_tokens: a continuation has at most so many; 0 only reads.
    stop: texts, before the first of which a continuation ends.
    seed: row b draws with seed + b, whatever the other rows are.
    short_prompt: of SHORT_PROMPTS, for prompts shorter than the prefix. None:
      'trim', but 'left_pad_reference' for models with pad_mask='reference'.
    iterate_every: with short_prompt='iterate', after so many new tokens the
      whole text is read anew, until it fills the prefix.
    long_prompt: of LONG_PROMPTS, for prompts longer than the prefix.

  Raises:
    ValueError: a value is out of range.
  """

  sampling: Sampling = Sampling()
  max_tokens: int = 256
  stop: tuple[str, ...] = ()
  seed: int = 0
  short_prompt: str | None = None
  iterate_every: int = 1
  long_prompt: str = 'head'

  def __post_init__(self):
    if self.max_tokens < 0:
      raise ValueError(f'max_tokens must be at least 0, got {self.max_tokens}')
    if not 0 <= self.seed < 2**31:
      raise ValueError(f'seed must lie in [0, 2**31), got {self.seed}')
    if self.iterate_every < 1:
      raise ValueError(
          f'iterate_every must be at least 1, got {self.iterate_every}'
      )
    if '' in self.stop:
      raise ValueError("stop must hold texts, got '', which is everywhere")


class Completion(NamedTuple):
  """How a prompt was continued."""

  text: str
  # Int32 [n], without the end of text, with what spells a stop text.
  tokens: np.ndarray
  ended: str  # by 'end of text', 'stop' or 'length'


def generate(
    model: Model,
    prompts: Sequence[str | np.ndarray],
    settings: Settings = Settings(),
) -> list[Completion]:
  """Continues prompts of any lengths, all at once.

  Args:
    model: from `load`.
    prompts: texts, or ids int [n].
    settings: how.

  Raises:
    ValueError: a prompt is empty or has unknown ids, or a setting is wrong.
  """
  continuation = Continuation(model, prompts, settings)
  for _ in continuation:
    pass
  return continuation.completions


class Continuation:
  """Prompts that have been read; iterating continues them.

  Each iteration yields what was added to the text of each row, a list of str.
  A repetition penalty counts what is in the prompts and in the continuations,
  not what was read before.

  Args:
    model: that reads and continues.
    prompts: texts, or ids int [n].
    settings: how.
    after: what the rows have read before the prompts; a single row has been
      read before each of them.
    turn: how prompts are read then, of TURNS.

  Attributes:
    prompts: their ids, a list of int32 [n].
    reading: what the rows have read, drawn tokens included.
    prefix_tokens: how many tokens of the prompts were read as prefix.
    read_seconds: what reading the prompts took, compilation included.
  """

  def __init__(
      self,
      model: Model,
      prompts: Sequence[str | np.ndarray],
      settings: Settings = Settings(),
      *,
      after: Reading | None = None,
      turn: str = 'turn_blocks',
  ):
    if not len(prompts):
      raise ValueError('there must be at least one prompt, got none')
    after = _for_each(len(prompts), after)
    self._model, self._settings = model, settings
    self.prompts = [model.encode(prompt) for prompt in prompts]
    self._rows = [_Row(model.tokenizer, settings) for _ in prompts]
    self._iterates = settings.short_prompt == 'iterate' and after is None
    longest = max(map(len, self.prompts))
    self._room = longest + settings.max_tokens + _CHUNK
    rows = [self._pieces(tokens, after, turn) for tokens in self.prompts]
    start = time.perf_counter()
    self.reading = reading_lib.read(
        model, rows, after=after, room=self._room - longest
    )
    jax.block_until_ready(self.reading)
    self.read_seconds = time.perf_counter() - start
    before = 0 if after is None else after.prefix
    self.prefix_tokens = int((self.reading.prefix - before).sum())
    self._before = self.reading  # the newest tokens
    self._draws = self._first_draws()
    self._paces = []  # tokens a second of each call of the loop

  @property
  def completions(self) -> list[Completion]:
    return [row.completion() for row in self._rows]

  @property
  def tokens_per_second(self) -> float | None:
    """Drawn by all rows together, after the first call, which compiles."""
    return np.median(self._paces[1:]) if self._paces[1:] else None

  def __iter__(self) -> Iterator[list[str]]:
    while not all(row.ended for row in self._rows):
      self._check_finite()
      self._before, start = self.reading, time.perf_counter()
      anew = self._to_read_anew() is not None
      tokens, logits, states, self._draws = decode.decode(
          self._model.merge,
          self._model.params,
          self.reading.logits,
          self.reading.states,
          self._draws,
          num_tokens=self._settings.iterate_every if anew else _CHUNK,
          num_ids=self._model.tokenizer.size,
          sampling=self._settings.sampling,
      )
      tokens = np.asarray(tokens)
      self._paces.append(tokens.size / (time.perf_counter() - start))
      self.reading = self.reading._replace(
          logits=logits,
          states=states,
          position=self.reading.position + tokens.shape[1],
      )
      yield [row.add(ids) for row, ids in zip(self._rows, tokens)]
      self._read_anew()

  def settled(self) -> Reading:
    """What has been read when exactly the completion has, of a single row.

    The loop may have drawn more tokens than those before which it had to end.
    """
    (row,) = self._rows
    if not row.rejected:
      return self.reading
    if not row.accepted:
      return self._before
    piece = Piece(np.array(row.accepted, np.int32), False)
    return reading_lib.read(self._model, [[piece]], after=self._before)

  def _pieces(self, tokens, after, turn):
    if after is None:
      return reading_lib.pieces(
          self._model,
          tokens,
          short=self._settings.short_prompt,
          long=self._settings.long_prompt,
      )
    reading_lib.check_name('turn', turn, long_prompts.TURNS)
    plan = long_prompts.TURNS[turn]
    if plan is None:
      raise ValueError(f'{turn=} needs the tokens of all that was read before')
    return reading_lib.planned(
        tokens, plan(len(tokens), self._model.prefix_capacity)
    )

  def _check_finite(self):
    """Draws would be the first id, which looks like an answer."""
    finite = jnp.isfinite(self.reading.logits).all(axis=1)
    rows = zip(self._rows, np.asarray(finite))
    if not all(row.ended or fine for row, fine in rows):
      raise ValueError(
          'logits must be finite, got others: weights are damaged, or the model'
          ' has read more than its state can hold'
      )

  def _first_draws(self):
    B, num_ids = len(self._rows), self._model.tokenizer.size
    keys = jax.vmap(jax.random.key)(self._settings.seed + np.arange(B))
    seen = None
    if self._settings.sampling.repetition_penalty != 1:
      seen = np.zeros((B, num_ids), bool)
      for b, tokens in enumerate(self.prompts):
        seen[b, tokens] = True
    draws = decode.Draws(keys, jnp.int32(0), seen)
    # Where later draws are, or the loop would be compiled for both.
    return jax.device_put(draws, self.reading.logits.sharding)

  def _to_read_anew(self):
    """Bool [B], rows whose prefix has room for what they drew; None: none."""
    if not self._iterates:
      return None
    rows = np.asarray(self.reading.prefix) < self._model.prefix_capacity
    rows &= [not row.ended for row in self._rows]
    return rows if rows.any() else None

  def _read_anew(self):
    if (rows := self._to_read_anew()) is None:
      return
    M = self._model.prefix_capacity
    texts = [
        np.concatenate([prompt, row.tokens]).astype(np.int32)
        for prompt, row in zip(self.prompts, self._rows)
    ]
    pieces = [
        reading_lib.planned(x, long_prompts.head(len(x), M)) if read else []
        for x, read in zip(texts, rows)
    ]
    longest = max(len(x) for x, read in zip(texts, rows) if read)
    new = reading_lib.read(self._model, pieces, room=self._room - longest)
    self.reading = reading_lib.choose(rows, new, self.reading)


def _for_each(count, reading):
  """Gives each of `count` prompts what was read before it."""
  if reading is None or len(reading.position) == count:
    return reading
  if len(reading.position) > 1:
    raise ValueError(
        f'there must be a prompt for each of the {len(reading.position)} texts'
        f' that were read before, got {count}'
    )
  return jax.tree.map(lambda x: jnp.repeat(x, count, axis=0), reading)


class _Row:
  """The text that one prompt is continued with."""

  def __init__(self, tokenizer, settings):
    self._tokenizer, self._settings = tokenizer, settings
    self.tokens = []
    self.accepted, self.rejected = [], []  # of the newest tokens
    self.text = ''  # all that may be shown
    self.ended = '' if settings.max_tokens else 'length'

  def add(self, ids):
    """Takes drawn ids up to where the text ends; returns the text they add."""
    if self.ended:
      return ''
    ids, before = ids.tolist(), len(self.tokens)
    tokens = (self.tokens + ids)[: self._settings.max_tokens]
    if self._tokenizer.eos_id in tokens[before:]:
      self.ended = 'end of text'
      tokens = tokens[: tokens.index(self._tokenizer.eos_id, before)]
    elif len(tokens) == self._settings.max_tokens:
      self.ended = 'length'
    text = self._tokenizer.decode(tokens)
    if self._stop(text) is not None:
      self.ended = 'stop'
      while self._stop(self._tokenizer.decode(tokens[: before + 1])) is None:
        before += 1
      tokens = tokens[: before + 1]
      text = text[: self._stop(text)]
    new = len(tokens) - len(self.tokens)
    self.tokens, self.accepted, self.rejected = tokens, ids[:new], ids[new:]
    shown = len(self.text)
    self.text = text if self.ended else self._certain(text)
    return self.text[shown:]

  def completion(self):
    text = self.text if self.ended else self._tokenizer.decode(self.tokens)
    return Completion(text, np.array(self.tokens, np.int32), self.ended)

  def _stop(self, text):
    """Where the first stop text starts, or None."""
    found = [text.find(stop) for stop in self._settings.stop]
    return min((i for i in found if i >= 0), default=None)

  def _certain(self, text):
    """Without an end that further tokens may still change."""
    text = text.rstrip('\ufffd')  # part of a character
    starts = {s[:n] for s in self._settings.stop for n in range(1, len(s))}
    return text[
        : len(text)
        - max((len(s) for s in starts if text.endswith(s)), default=0)
    ]
