"""From prompts to texts, while they come into being."""

from collections.abc import Iterator, Sequence
import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.generation import pieces as pieces_lib
from jrt_jax.generation import reading as reading_lib
from jrt_jax.generation import sizes
from jrt_jax.generation.continued_text import Completion
from jrt_jax.generation.continued_text import ContinuedText
from jrt_jax.generation.model import Model
from jrt_jax.generation.pieces import Piece
from jrt_jax.generation.reading import Reading
from jrt_jax.models import decode
from jrt_jax.models.sampling import Sampling

CHUNK = 16  # tokens that one call of the compiled loop draws


@dataclasses.dataclass(frozen=True)
class Settings:
  """How prompts are read and continued.

  Attributes:
    sampling: how tokens are drawn.
    max_tokens: a continuation has at most so many; 0 only reads.
    stop: texts, before the first of which a continuation ends.
    seed: row b draws with seed + b, whatever the other rows are, unless it is
      given a seed of its own.
    short_prompt: of SHORT_PROMPTS, for prompts shorter than the prefix. None:
      'trim', but 'left_pad_reference' for models with pad_mask='reference'.
    iterate_every: with short_prompt='iterate', after so many new tokens the
      whole text is read anew, until it is as long as the prefix may be.
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


def generate(
    model: Model,
    prompts: Sequence[str | np.ndarray],
    settings: Settings = Settings(),
    *,
    seeds: Sequence[int] | None = None,
) -> list[Completion]:
  """Continues prompts of any lengths, all at once.

  A batch is filled up to a power of two, so that few sizes are compiled.

  Args:
    model: from `load`.
    prompts: texts, or ids int [n].
    settings: how.
    seeds: in [0, 2**31), of each prompt's draws; None: see `Settings`.

  Raises:
    ValueError: a prompt is empty or has unknown ids, or a setting is wrong.
  """
  continuation = Continuation(model, prompts, settings, seeds=seeds)
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
    seeds: see `generate`.

  Attributes:
    prompts: their ids, a list of int32 [n].
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
      seeds: Sequence[int] | None = None,
  ):
    if not len(prompts):
      raise ValueError('there must be at least one prompt, got none')
    seeds = _seeds(len(prompts), seeds, settings.seed)
    after = _for_each(len(prompts), after)
    self._model, self._settings = model, settings
    self.prompts = [model.encode(prompt) for prompt in prompts]
    self._rows = [
        ContinuedText(model.tokenizer, settings.max_tokens, settings.stop)
        for _ in prompts
    ]
    self._iterates = settings.short_prompt == 'iterate' and after is None
    longest = max(map(len, self.prompts))
    self._room = longest + settings.max_tokens + CHUNK
    if after is None:
      rows = [self._as_prompt(tokens) for tokens in self.prompts]
    else:
      rows = [pieces_lib.of_turn(model, x, turn) for x in self.prompts]
    self.prefix_tokens = sum(map(_prefix_tokens, rows))
    rows = sizes.with_empty(rows)
    start = time.perf_counter()
    # Of the rows, and of those that fill up the batch.
    self._reading = reading_lib.read(
        model, rows, after=after, room=self._room - longest
    )
    jax.block_until_ready(self._reading)
    self.read_seconds = time.perf_counter() - start
    self._before = self._reading  # the newest tokens
    self._draws = self._first_draws(seeds)
    self._paces = []  # tokens a second of each call of the loop

  @property
  def reading(self) -> Reading:
    """What the rows have read, drawn tokens included."""
    count = len(self._rows)
    if len(self._reading.position) == count:
      return self._reading
    return reading_lib.take([self._reading], np.arange(count))

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
      self._before, start = self._reading, time.perf_counter()
      anew = self._to_read_anew()
      tokens, logits, states, self._draws = decode.decode(
          self._model.merge,
          self._model.served,
          self._reading.logits,
          self._reading.states,
          self._draws,
          num_tokens=self._settings.iterate_every if anew.any() else CHUNK,
          num_ids=self._model.tokenizer.size,
          sampling=self._settings.sampling,
      )
      tokens = np.asarray(tokens)[: len(self._rows)]
      self._paces.append(tokens.size / (time.perf_counter() - start))
      self._reading = self._reading._replace(
          logits=logits,
          states=states,
          position=self._reading.position + tokens.shape[1],
      )
      new = [row.add(ids) for row, ids in zip(self._rows, tokens)]
      self._read_anew(anew & self._unfinished())
      yield new

  def settled(self) -> Reading:
    """What has been read when exactly the completion has, of a single row.

    The loop may have drawn more tokens than those before which it had to end.
    """
    (row,) = self._rows
    if not row.rejected:
      return self._reading
    if not row.accepted:
      return self._before
    piece = Piece(np.array(row.accepted, np.int32), False)
    return reading_lib.read(self._model, [[piece]], after=self._before)

  def _as_prompt(self, tokens):
    return pieces_lib.of_prompt(
        self._model,
        tokens,
        short=self._settings.short_prompt,
        long=self._settings.long_prompt,
    )

  def _check_finite(self):
    """Draws would be the first id, which looks like an answer."""
    finite = np.asarray(_are_finite(self._reading.logits))
    if not all(row.ended or fine for row, fine in zip(self._rows, finite)):
      raise ValueError(
          'logits must be finite, got others: weights are damaged, or the model'
          ' has read more than its state can hold'
      )

  def _first_draws(self, seeds):
    B, seen = len(self._reading.position), None
    keys = jax.vmap(jax.random.key)(np.resize(seeds, B))
    if self._settings.sampling.repetition_penalty != 1:
      seen = np.zeros((B, self._model.tokenizer.size), bool)
      for row, tokens in zip(seen, self.prompts):
        row[tokens] = True
    draws = decode.Draws(keys, jnp.int32(0), seen)
    # Where later draws are, or the loop would be compiled for both.
    return jax.device_put(draws, self._reading.logits.sharding)

  def _unfinished(self):
    return np.array([not row.ended for row in self._rows])

  def _to_read_anew(self):
    """Bool [B], rows that will be read again with what they draw next."""
    position = np.asarray(self._reading.position)[: len(self._rows)]
    has_room = position < self._model.prefix_capacity
    return has_room & self._unfinished() & self._iterates

  def _read_anew(self, rows):
    """Reads bool [B] `rows` as prompts, with all that they have drawn."""
    if not rows.any():
      return
    texts = [
        np.concatenate([prompt, row.tokens]).astype(np.int32)
        for prompt, row in zip(self.prompts, self._rows)
    ]
    pieces = sizes.with_empty(
        [self._as_prompt(x) if read else () for x, read in zip(texts, rows)]
    )
    longest = max(len(text) for text, read in zip(texts, rows) if read)
    new = reading_lib.read(self._model, pieces, room=self._room - longest)
    rows = np.pad(rows, (0, len(pieces) - len(rows)))
    self._reading = reading_lib.choose(rows, new, self._reading)


@jax.jit
def _are_finite(logits):
  """Bool [B]: whether all of float32 [B, V] are."""
  return jnp.isfinite(logits).all(axis=1)


def _prefix_tokens(row):
  return sum(len(p.tokens) - p.padding for p in row if p.is_prefix)


def _seeds(count, seeds, first):
  """Int32 [count], those that are given or as many from the first one on."""
  if seeds is None:
    seeds = first + np.arange(count)
  if len(seeds) != count:
    raise ValueError(
        f'there must be a seed for each of the {count} prompts, got'
        f' {len(seeds)}'
    )
  if min(seeds) < 0 or max(seeds) >= 2**31:
    raise ValueError(
        f'seeds must lie in [0, 2**31), got {min(seeds)} to {max(seeds)}'
    )
  return np.asarray(seeds, np.int32)


def _for_each(count, reading):
  """Gives each row of a batch of `count` prompts what was read before it."""
  if reading is None:
    return None
  rows = len(reading.position)
  if rows not in (1, count):
    raise ValueError(
        f'there must be a prompt for each of the {rows} texts that were read'
        f' before, got {count}'
    )
  B = sizes.filled(count)
  return reading_lib.take([reading], np.arange(B) % rows)
